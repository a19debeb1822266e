# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Checkpoints: reading them safely, writing them whole, what they leave empty, and where to resume from."""

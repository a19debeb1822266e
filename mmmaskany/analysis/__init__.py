# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What is measured about a trained network beside its accuracy."""

# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""From images and a checkpoint to trained, compared and explained networks: look, plan, write, run, report."""

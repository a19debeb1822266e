# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Loading is protected here as it is wherever a part of ours is used; test_plain_scripts.py tries how."""

from mmmaskany.checkpoints.protection import protect

protect()

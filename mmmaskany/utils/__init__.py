# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What the rest of the package needs and MMEngine lacks."""

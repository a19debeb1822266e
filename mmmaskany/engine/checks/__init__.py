# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What is checked before a training or a test starts."""

# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Networks that were trained, used: predictions, exports. Importing it protects the loading of checkpoints."""

from mmmaskany.checkpoints.protection import protect

protect()

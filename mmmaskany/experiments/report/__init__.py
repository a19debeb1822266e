# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The report of ``mmmaskany finetune``: what is measured for it, what is explained, and the page that it is."""

from .write import short_failure, write_report

__all__ = ['short_failure', 'write_report']

# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What a host, the network that ours extends or is put around, is to a type checker: it may have any attribute.

OpenMMLab's libraries have no types. A mixin that stands in front of a host's class derives from ``Host``, and what
takes a host is annotated with it. When the program runs it is nothing.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmengine.model import BaseModule as Host
else:
    Host = object

__all__ = ['Host']

# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What a class of a host is to a type checker: the hosts' packages have no types, so it may have any attribute.

A mixin that stands in front of a host's class derives from it, and what takes a host's network is annotated with it.
When the program runs it is nothing.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmengine.model import BaseModule as Host
else:
    Host = object

__all__ = ['Host']

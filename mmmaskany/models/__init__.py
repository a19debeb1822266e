# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from mmmaskany import hub
from mmmaskany.checkpoints.protection import protect

from . import algebra, view_augments
from .backbones import *  # noqa: F403
from .classifiers import *  # noqa: F403
from .contiguous_operators import make_contiguous
from .data_preprocessors import *  # noqa: F403
from .detectors import *  # noqa: F403
from .heads import *  # noqa: F403
from .losses import *  # noqa: F403
from .necks import *  # noqa: F403
from .segmentors import *  # noqa: F403
from .selfsup import *  # noqa: F403
from .stems import *  # noqa: F403

protect()
make_contiguous()
hub.register()

__all__ = ['algebra', 'view_augments']

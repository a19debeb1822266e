# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Write the shipped variants of configs, such as their twins without reuse, by the rules that make them.

    python tools/misc/variant_configs.py                    # write all anew, after a rule or a config has changed
    python tools/misc/variant_configs.py --check            # only say which would change
    python tools/misc/variant_configs.py configs/maskany/maskany_x_8xb128-coslr-100e_in1k.py unmasked noreuse

The last adds variants of a config. A config is a variant where its name is that of another one with the variant behind
the network: ``maskany_resnet18-noreuse_...`` beside ``maskany_resnet18_...``. What a variant changes is said once, in
mmmaskany/experiments/variant_rules.py, from which compare_methods.py and `mmmaskany finetune` have it, too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.experiments.variant_rules import RULES, variant_text
from mmmaskany.hub.model_index import split_header, write_generated
from mmmaskany.user_errors import run

ROOT = Path(__file__).resolve().parents[2]
HEAD = '# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.\n# Made by tools/misc/variant_configs.py.\n'
#: The variants that a name can have; plain networks have names of their own.
NAMES = [name for name in RULES if name not in ('maskany', 'plain')]
#: A config whose name was promised, by the name that it would have.
PROMISED = {'maskany_maskresnet50_8xb128-coslr-100e_in1k': 'maskany_r50_in1k'}


def shipped(root: Path = ROOT) -> Iterator[tuple[Path, str, Path]]:
    """Find the variants among the configs by their names.

    Args:
        root (Path): The repository.

    Yields:
        tuple[Path, str, Path]: The variant's config, which variant it is, and the config that it is one of.
    """
    configs = {path.stem: path for path in sorted((root / 'configs').rglob('*.py')) if '_base_' not in path.parts}
    for stem, path in configs.items():
        for name in NAMES:
            plain = stem.replace(f'-{name}_', '_', 1)
            base = configs.get(PROMISED.get(plain, plain))
            if plain != stem and base is not None:
                yield path, name, base


def path_of(config: Path, name: str) -> Path:
    """Name a variant: behind the network, which is the second part of the name of a config.

    Args:
        config (Path): The config.
        name (str): The variant.

    Returns:
        Path: Its file, beside the config.

    Raises:
        FileNotFoundError: If there is no such config.
        ValueError: If it is no such variant, or the name of the config does not have three parts.
    """
    if name not in NAMES:
        raise ValueError(f'a variant must be one of {", ".join(NAMES)}, but got {name!r}')
    full = {promised: stem for stem, promised in PROMISED.items()}.get(config.stem)
    if full:  # its variants are among those of its method
        config = config.with_name('maskany') / f'{full}.py'
    if not config.is_file():
        raise FileNotFoundError(f'CONFIG must be a file, but there is no {config}')
    parts = config.stem.split('_', 2)
    if len(parts) < 3:
        raise ValueError(f'the name of a config must be method_network_recipe_data, but got {config.stem}')
    return config.with_name(f'{parts[0]}_{parts[1]}-{name}_{parts[2]}.py')


def main(argv: list[str] | None = None) -> int:
    """Write or check the variants and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=Path, nargs='?', help='a config that gets more variants')
    parser.add_argument('variants', nargs='*', help=f'of {" ".join(NAMES)}')
    parser.add_argument('--check', action='store_true', help='write nothing; exit 1 where a config is out of date')
    parser.add_argument('--root', type=Path, default=ROOT, help='the repository (default: that of this file)')
    args = parser.parse_args(argv)
    found = [(path_of(args.config, name), name, args.config) for name in args.variants] or [*shipped(args.root)]
    texts = {}
    for path, name, base in found:
        before = path.read_text() if path.is_file() else ''
        comment, _, rest = split_header(HEAD + variant_text(name, base, path.parent))
        texts[path] = comment + split_header(before)[1] + rest  # what was measured stays, see model_tables.py
    return write_generated(texts, args.check)


if __name__ == '__main__':
    sys.exit(run(main))

# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""A page of headings, text, tables and pictures, as one self-contained HTML file and as Markdown."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmmaskany.checkpoints.atomic import atomic_write

from ..tables import markdown_table

_STYLE = """
:root { --ink: #1c2430; --soft: #5b6675; --line: #dfe4ea; --paper: #ffffff; --tint: #f4f6f9; --mark: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--tint); color: var(--ink);
       font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
main { max-width: 1000px; margin: 0 auto; padding: 36px 44px 60px; background: var(--paper); }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 6px; }
h2 { font-size: 19px; margin: 40px 0 10px; padding-top: 14px; border-top: 1px solid var(--line); }
p { margin: 8px 0; max-width: 76ch; }
p.lead { font-size: 18px; padding: 14px 18px; background: var(--tint); border-left: 4px solid var(--mark);
         max-width: none; }
p.bad { padding: 10px 14px; background: #fdf1ec; border-left: 4px solid #d55e00; max-width: none; }
p.note { color: var(--soft); font-size: 13.5px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 12px 0; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 14px 6px 0; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; color: var(--soft); font-size: 13.5px; vertical-align: bottom; white-space: normal; }
th:first-child, td:first-child { text-align: left; }
table.words td { text-align: left; white-space: normal; vertical-align: top; }
table.words td:first-child { color: var(--soft); white-space: nowrap; }
img { max-width: 100%; height: auto; display: block; margin: 10px 0; }
pre { background: var(--tint); padding: 12px 14px; overflow-x: auto; font-size: 13px; }
@media (max-width: 700px) { main { padding: 20px 16px 40px; } }
@media print { body { background: none; } main { padding: 0; } h2 { break-after: avoid; } img { break-inside: avoid; } }
"""


@dataclass
class Page:
    """A page that is written piece by piece.

    Args:
        title (str): Its title.
        pictures (Path): Where the pictures of the Markdown go.
    """

    title: str
    pictures: Path
    _html: list[str] = field(default_factory=list)
    _markdown: list[str] = field(default_factory=list)

    def heading(self, text: str) -> None:
        """Begin a section."""
        self._html.append(f'<h2>{html.escape(text)}</h2>')
        self._markdown.append(f'## {text}\n')

    def text(self, text: str, kind: str = '') -> None:
        """Add a paragraph; ``kind`` may be 'lead', 'note' or 'bad'."""
        self._html.append(f'<p class="{kind}">{html.escape(text)}</p>')
        self._markdown.append(f'**{text}**\n' if kind in ('lead', 'bad') else f'{text}\n')

    def code(self, text: str) -> None:
        """Add commands."""
        self._html.append(f'<pre>{html.escape(text)}</pre>')
        self._markdown.append(f'```\n{text}\n```\n')

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]], words: bool = False) -> None:
        """Add a table; ``words`` has text in its cells and no head."""
        kind = ' class="words"' if words else ''
        cells = ''.join(f'<th>{html.escape(cell)}</th>' for cell in head)
        top = f'<thead><tr>{cells}</tr></thead>' if not words else ''
        body = ''.join(f'<tr>{"".join(f"<td>{html.escape(cell)}</td>" for cell in row)}</tr>' for row in rows)
        self._html.append(f'<div class="wide"><table{kind}>{top}<tbody>{body}</tbody></table></div>')
        self._markdown.append(markdown_table(head, rows, words=range(len(head)) if words else (0,)))

    def picture(self, name: str, png: bytes, alt: str, width: int | None = None) -> None:
        """Add a picture: within the HTML, as a file beside the Markdown."""
        size = f' width="{width}"' if width else ''
        data = base64.b64encode(png).decode()
        self._html.append(f'<img src="data:image/png;base64,{data}" alt="{html.escape(alt, quote=True)}"{size}>')
        path = self.pictures / f'{name}.png'
        atomic_write(path, png)
        self._markdown.append(f'![{alt}]({self.pictures.name}/{path.name})\n')

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write ``report.html`` and ``report.md``.

        Args:
            folder (Path): Where to.

        Returns:
            tuple[Path, Path]: The files.
        """
        title = html.escape(self.title)
        page = (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n'
            + '\n'.join(self._html)
            + '\n</main>\n</body>\n</html>\n'
        )
        files = Path(folder, 'report.html'), Path(folder, 'report.md')
        atomic_write(files[0], page.encode())
        atomic_write(files[1], '\n'.join([f'# {self.title}\n', *self._markdown]).encode())
        return files

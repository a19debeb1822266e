# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What a file is that somebody gives as a checkpoint, told from its first bytes."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import BinaryIO

_STARTS = (
    (b'version https://git-lfs', 'a pointer of Git LFS, not the file itself: fetch it with `git lfs pull`'),
    (b'\x89HDF\r\n\x1a\n', 'an HDF5 file, as Keras and TensorFlow write: it must be converted to PyTorch first'),
    (b'\x1f\x8b', 'compressed with gzip: unpack it first'),
    (b'BZh', 'compressed with bzip2: unpack it first'),
    (b'\xfd7zXZ', 'compressed with xz: unpack it first'),
    (b'\x28\xb5\x2f\xfd', 'compressed with zstd: unpack it first'),
    (b'Rar!', 'a RAR archive: unpack it first'),
    (b'\x93NUMPY', 'an array of NumPy'),
    (b'GGUF', 'a GGUF file, of language models'),
    (b'\x89PNG', 'a PNG image'),
    (b'\xff\xd8\xff', 'a JPEG image'),
)
_PICKLES = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
#: What files of ``torch.save`` before PyTorch 1.6 begin with, after the two bytes of a pickle.
_LEGACY = b'\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'


def is_safetensors(file: BinaryIO) -> bool:
    """Tell whether an open file is one of safetensors: the length of a header, and the header, which is JSON."""
    file.seek(0)
    start = file.read(9)
    file.seek(0)
    return len(start) == 9 and start[8:] == b'{' and int.from_bytes(start[:8], 'little') < 100_000_000


def describe(file: BinaryIO, name: str) -> str | None:
    """Say what a file is that PyTorch cannot read as a checkpoint.

    Args:
        file (BinaryIO): The open file.
        name (str): Its name.

    Returns:
        str | None: What it is, and where there is a way, what to do with it; None where that is not known.
    """
    file.seek(0)
    start = file.read(512)
    file.seek(257)
    tar = file.read(5) == b'ustar'
    if not start:
        return None
    for magic, text in _STARTS:
        if start.startswith(magic):
            return text
    text = start.lstrip(b'\xef\xbb\xbf \t\r\n').lower()
    if b'<net ' in start:
        return 'a network of OpenVINO: it must be converted to PyTorch first'
    if text.startswith((b'<!doctype', b'<html', b'<?xml', b'<head')):
        return 'a web page, not the file itself: the download went to a page that shows or refuses it'
    if text.startswith((b'{', b'[')):
        index = b'weight_map' in start
        return 'JSON text' + (': the index of a file in parts, whose name must end in .index.json' if index else '')
    if tar:
        return 'a tar archive: unpack it first'
    if zipfile.is_zipfile(file):
        return _describe_zip(file, name)
    if start.startswith(_PICKLES) and not start.startswith(_LEGACY, 2):
        return (
            'a plain pickle, which may run code where it is read: in the program that made it, save its tensors with '
            'torch.save'
        )
    if Path(name).suffix.lower() == '.onnx' or (start.startswith(b'\x08') and re.search(b'pytorch|onnx', start[:64])):
        return 'an ONNX file, a network and not its PyTorch tensors: give the checkpoint that it was exported from'
    if start[4:8] == b'TFL3':
        return 'a network of TensorFlow Lite: it must be converted to PyTorch first'
    if Path(name).suffix.lower() == '.msgpack':
        return 'tensors of Flax: they must be converted to PyTorch first'
    if b'\0' not in start and all(byte < 128 for byte in start):
        return f'text, which begins with {start[:40].decode("ascii").splitlines()[0]!r}'
    return None


def describe_folder(folder: Path) -> str:
    """Say what a folder is that somebody gives as a checkpoint, and which file in it to give.

    Args:
        folder (Path): The folder.

    Returns:
        str: Such as 'a folder: give the file model.safetensors in it'.
    """
    if (folder / '.metadata').is_file():
        return (
            'a folder of torch.distributed.checkpoint: make it one file by '
            f'`python -m torch.distributed.checkpoint.format_utils dcp_to_torch {folder} NEW`'
        )
    if (folder / 'zero_to_fp32.py').is_file():
        return f'a folder of DeepSpeed: make it one file by its own script, `python {folder}/zero_to_fp32.py`'
    if (folder / 'saved_model.pb').is_file():
        return 'a folder of TensorFlow: it must be converted to PyTorch first'
    names = [path.name for path in folder.iterdir() if path.name.endswith(_WEIGHTS)]
    names.sort(key=lambda name: (not name.endswith('.index.json'), not name.endswith('.safetensors'), name))
    return 'a folder' + (f': give the file {names[0]} in it' if names else '')


#: Ends of names of files that hold weights.
_WEIGHTS = ('.safetensors', '.safetensors.index.json', '.bin.index.json', '.bin', '.pth', '.pt', '.ckpt', '.tar')


def _describe_zip(file: BinaryIO, path: str) -> str:
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    inner = {name.partition('/')[2] for name in names}
    if 'constants.pkl' in inner:
        return (
            'a TorchScript program, which holds code: where you trust it, save its tensors by '
            f'`torch.save(torch.jit.load({path!r}).state_dict(), NEW)`'
        )
    if 'model.weights.h5' in names:
        return 'a network of Keras: it must be converted to PyTorch first'
    if 'data.pkl' in inner:
        return 'a damaged PyTorch file'
    if names and all(name.endswith('.npy') for name in names):
        return 'an archive of NumPy arrays (JAX or Flax): it must be converted to PyTorch first'
    if any('exported_program' in name or name.endswith('.pt2') for name in names) or Path(path).suffix == '.pt2':
        return 'an exported program of torch.export, which is a network and not its tensors'
    return f'a zip archive ({", ".join(names[:2])} ...): unpack it first'

# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.


def differences(one, other, path='') -> set[str]:
    """Name the keys at which two configs differ."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return set() if one == other else {path}
    keys = one.keys() | other.keys()
    missing = object()
    return set().union(
        *(differences(one.get(key, missing), other.get(key, missing), f'{path}.{key}'.lstrip('.')) for key in keys)
    )

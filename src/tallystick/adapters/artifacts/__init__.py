"""What ``contracts/build.mjs`` made out of the Solidity sources: data that the package carries.

Knows where it lies. Refuses to know how to compile it: a test in ``tests/conformance`` builds it again, byte for byte.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Annotated, Final

import msgspec

from tallystick.errors import MalformedError

REGISTRY: Final = "CommitRegistry.json"

HexText = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{2})+(?![\s\S])")]


class Artifact(msgspec.Struct, frozen=True, rename="camel"):
    """What is needed of an artifact: code that creates the contract, and the code that then stands on the chain."""

    bytecode: HexText
    deployed_bytecode: HexText


def creation_code() -> bytes:
    """The code that creates a CommitRegistry, as data of a transaction without receiver.

    Raises:
        MalformedError: The installed file is damaged.
    """
    return bytes.fromhex(_registry().bytecode)


def deployed_code() -> bytes:
    """The code of a created CommitRegistry, as a chain gives it back (MalformedError as above)."""
    return bytes.fromhex(_registry().deployed_bytecode)


def _registry() -> Artifact:
    try:
        return msgspec.json.decode(files(__package__).joinpath(REGISTRY).read_bytes(), type=Artifact)
    except msgspec.DecodeError as error:
        raise MalformedError(REGISTRY, str(error)) from error

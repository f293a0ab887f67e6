"""What paths, queries and headers may hold. The framework heeds bounds that stand in its own markers only."""

from __future__ import annotations

from typing import Annotated, Final

from litestar.params import HeaderParameter, PathParameter, QueryParameter

from tallystick.node.exchange import TICKET_BYTES
from tallystick.primitives.canonical import INTEGER_MAX

END: Final = r"(?![\s\S])"
JOB: Final = rf"^[a-z0-9][a-z0-9_.-]{{0,63}}{END}"
OFFSET: Final = "Upload-Offset"
LENGTH: Final = "Upload-Length"
LIMIT_MAX: Final = 500

JobPath = Annotated[str, PathParameter(pattern=JOB, description="A job's name.")]
JobQuery = Annotated[str | None, QueryParameter(pattern=JOB)]
Digest = Annotated[str, PathParameter(pattern=rf"^[0-9a-f]{{64}}{END}", description="A SHA-256, 64 hex digits.")]
UploadPath = Annotated[str, PathParameter(pattern=rf"^[0-9a-f]{{32}}{END}", description="An upload's id.")]
TokenPath = Annotated[str, PathParameter(pattern=rf"^[0-9a-f]{{12}}{END}", description="A token's id.")]
AddressPath = Annotated[str, PathParameter(pattern=rf"^cpc1[02-9ac-hj-np-z]{{38}}{END}", description="An account.")]
Ticket = Annotated[
    str, PathParameter(pattern=rf"^[0-9a-f]{{{2 * TICKET_BYTES}}}{END}", description="The right to one piece.")
]
Limit = Annotated[int, QueryParameter(ge=1, le=LIMIT_MAX)]
Position = Annotated[int | None, QueryParameter(ge=0, le=INTEGER_MAX, description="A place in the log.")]
After = Annotated[int | None, QueryParameter(ge=-1, le=INTEGER_MAX, description="The index before the first event.")]
LastEventId = Annotated[int | None, HeaderParameter(name="Last-Event-ID", ge=-1, le=INTEGER_MAX)]
Offset = Annotated[int, HeaderParameter(name=OFFSET, ge=0, le=INTEGER_MAX)]
IdempotencyKey = Annotated[str | None, HeaderParameter(name="Idempotency-Key", pattern=rf"^[!-~]{{1,200}}{END}")]

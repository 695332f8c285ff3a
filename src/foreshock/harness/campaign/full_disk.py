"""Whether something went wrong because the disk of the store takes no more: then no further test can be recorded."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable
from typing import Final

from foreshock.harness.campaign.document import Attempt

FULL: Final = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS))
"""No space left, a quota that is used up, a file that grew to its limit, a disk that became read-only."""
_NOT_TAKEN: Final = re.compile(
    rf"(?:cannot be written|cannot be made|does not take a run that was sent): (?:{'|'.join(map(re.escape, FULL))})"
)
"""How we say it of files of our own. What a node or a tool says is of its own disk, which a nemesis may have filled."""


def full_disk_in(sentences: Iterable[str]) -> str | None:
    """What the system calls it, where one of the sentences speaks of it."""
    for sentence in sentences:
        for words in FULL:
            if words in sentence:
                return words
    return None


def filled(attempt: Attempt) -> str | None:
    """What the system said, where an attempt was lost to a disk that is full."""
    errors = attempt.summary.harness_errors if attempt.summary is not None else ()
    return full_disk_in(text for text in (attempt.error, *errors) if _NOT_TAKEN.search(text))

"""A hasher of passwords for tests: the service's takes 0.2 s of the processor for each user and each sign-in."""

from __future__ import annotations

from typing import Final

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

QUICK_HASHER: Final = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=1024, parallelism=1),))

"""The file that the index is kept in: SQLite, written by any number of processes, made anew when it is damaged.

Nothing in it is worth more than the time to read it again. So whatever goes wrong with it is told in one line, and work
goes on without it.
"""

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from sqlalchemy import Column, Engine, LargeBinary, MetaData, Table, Text, create_engine, delete, select, text
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

logger = logging.getLogger(__name__)

FILE_NAME = "models.sqlite"
SCHEMA = 1
"""Another number in the file: its tables are made anew."""
_BUSY_SECONDS, _BUSY_TRIES = 20.0, 400
_BEGIN_WRITING = "BEGIN IMMEDIATE"
"""Waits for other writers now; who begins to write after reading would be turned away."""
_DAMAGED = frozenset({sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})
_PATHS_AT_ONCE = 500
T = TypeVar("T")

_metadata = MetaData()
_facts = Table(
    "facts",
    _metadata,
    Column("path", LargeBinary, primary_key=True),  # bytes: names need not be text
    Column("stamp", Text, nullable=False),
    Column("facts", Text, nullable=False),
)
_digests = Table(
    "digests",
    _metadata,
    Column("path", LargeBinary, primary_key=True),
    Column("stamp", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("said", Text, nullable=False),
)


class FactsRow(NamedTuple):
    """What a file said when it had this stamp, as JSON."""

    path: bytes
    stamp: str
    facts: str


class DigestRow(NamedTuple):
    """The sha256 of a file when it had this stamp, and what its header said."""

    path: bytes
    stamp: str
    sha256: str
    said: str


class IndexDatabase:
    """Rows by path. Safe to use from many threads and processes; no method raises for what is wrong with the file.

    Args:
        folder: where the file is, or is made.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / FILE_NAME
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._usable = True

    def facts(self, paths: Collection[bytes] | None = None) -> dict[bytes, FactsRow]:
        """What is kept of `paths`, or of all files."""
        return {row.path: row for row in self._attempt(lambda db: _rows(db, _facts, FactsRow, paths), [])}

    def digests(self) -> dict[bytes, DigestRow]:
        return {row.path: row for row in self._attempt(lambda db: _rows(db, _digests, DigestRow, None), [])}

    def keep_facts(self, rows: Sequence[FactsRow]) -> None:
        if rows:
            self._attempt(lambda db: _upsert(db, _facts, rows), None, writes=True)

    def keep_digests(self, rows: Sequence[DigestRow]) -> None:
        if rows:
            self._attempt(lambda db: _upsert(db, _digests, rows), None, writes=True)

    def forget_facts(self, paths: Sequence[bytes]) -> None:
        """Digests are kept: a disk that was taken out may come back, and they are what is costly."""
        for some in _portions(paths):
            gone = delete(_facts).where(_facts.c.path.in_(some))
            self._attempt(lambda db, gone=gone: db.execute(gone), None, writes=True)

    def _attempt(self, work: Callable[[Connection], T], otherwise: T, *, writes: bool = False) -> T:
        """Do `work` in a transaction; after damage once more, with a new file. `otherwise`, if it cannot be done."""
        for again in (True, False):
            if not self._usable:
                break
            try:
                with self._open().begin() as connection:
                    if writes:
                        connection.exec_driver_sql(_BEGIN_WRITING)
                    return work(connection)
            except DBAPIError as error:
                reason = str(error.orig)
                if not (again and _is_damage(error)):
                    self._give_up(reason)
                else:
                    self._make_anew(reason)
            except OSError as error:
                self._give_up(error.strerror or str(error))
        return otherwise

    def _open(self) -> Engine:
        with self._lock:
            if self._engine is None:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                # A connection is cheap, and one that threads or a forked process share is not safe.
                engine = create_engine("sqlite://", creator=self._connect, poolclass=NullPool)
                with engine.begin() as connection:
                    _prepare(connection)
                self._engine = engine
            return self._engine

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.file, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            _log_ahead(connection)
            connection.execute("PRAGMA synchronous=NORMAL")
        except BaseException:
            connection.close()
            raise
        return connection

    def _make_anew(self, reason: str) -> None:
        with self._lock:
            logger.warning("The index of models `%s` was damaged (%s) and is made anew", self.file, reason)
            self._engine = None
            for ending in ("", "-wal", "-shm"):
                with suppress(OSError):
                    os.unlink(f"{self.file}{ending}")

    def _give_up(self, reason: str) -> None:
        with self._lock:
            if self._usable:
                self._usable = False
                logger.warning("The index of models is not kept in `%s`: %s", self.file, reason)


def _log_ahead(connection: sqlite3.Connection) -> None:
    """Let readers and a writer work at once. Of several that change a new file to this at once, some are turned away,
    without the wait that everything else has."""
    for remaining in reversed(range(_BUSY_TRIES)):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or not remaining:
                raise
            time.sleep(_BUSY_SECONDS / _BUSY_TRIES)
        else:
            return


def _prepare(connection: Connection) -> None:
    if _version(connection) == SCHEMA:
        return
    connection.exec_driver_sql(_BEGIN_WRITING)
    if _version(connection) != SCHEMA:  # or somebody else was quicker
        _metadata.drop_all(connection)
        _metadata.create_all(connection)
        connection.execute(text(f"PRAGMA user_version={SCHEMA}"))


def _version(connection: Connection) -> int:
    return connection.execute(text("PRAGMA user_version")).scalar_one()


def _is_damage(error: DBAPIError) -> bool:
    code = getattr(error.orig, "sqlite_errorcode", None)
    return isinstance(code, int) and (code & 0xFF) in _DAMAGED


def _rows(db: Connection, table: Table, row: Callable[..., T], paths: Collection[bytes] | None) -> list[T]:
    if paths is None:
        return [row(*found) for found in db.execute(select(table))]
    some = [db.execute(select(table).where(table.c.path.in_(portion))) for portion in _portions(list(paths))]
    return [row(*found) for result in some for found in result]


def _upsert(db: Connection, table: Table, rows: Sequence[FactsRow] | Sequence[DigestRow]) -> None:
    statement = insert(table)
    kept = {name: statement.excluded[name] for name in rows[0]._fields if name != "path"}
    db.execute(statement.on_conflict_do_update(index_elements=["path"], set_=kept), [row._asdict() for row in rows])


def _portions(paths: Sequence[bytes]) -> list[Sequence[bytes]]:
    return [paths[begin : begin + _PATHS_AT_ONCE] for begin in range(0, len(paths), _PATHS_AT_ONCE)]

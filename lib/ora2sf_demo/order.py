"""The order in which the tables of a folder are loaded."""

from __future__ import annotations

from graphlib import TopologicalSorter
from pathlib import Path

from ora2sf.tables import TableConfig


def in_order(folder: Path) -> list[TableConfig]:
    """Every table file, by phase, and inside a phase each one behind those it depends on.

    Raises:
        TableFileError: a file is not valid.
        ValueError: a table depends on one that is of a later phase or is not there.
    """
    configs = {path.stem: TableConfig.load(path.stem, folder) for path in sorted(folder.glob("*.toml"))}
    for config in configs.values():
        for needed in config.depends_on:
            if needed not in configs or configs[needed].phase > config.phase:
                raise ValueError(f"{config.table} depends on {needed}, which no earlier phase loads")
    names = TopologicalSorter({name: config.depends_on for name, config in configs.items()}).static_order()
    return sorted((configs[name] for name in names), key=lambda config: config.phase)

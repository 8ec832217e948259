"""Write the first migration from the declared tables. A released migration is never rewritten: add the next number."""

from pathlib import Path

from hagane.app import TABLES

FIRST = Path(__file__).parents[1] / "src/hagane/state/migrations/0001_first_light.sql"


def main() -> None:
    statements = [statement for table in sorted(TABLES, key=lambda t: t.name) for statement in table.ddl()]
    FIRST.write_text("-- The tables of the first release.\n" + ";\n\n".join(statements) + ";\n")


if __name__ == "__main__":
    main()

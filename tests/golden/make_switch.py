"""Write what the switch families read and say, beside each golden text: run it, and read the difference before it is
committed.

    PYTHONPATH=src:. python tests/golden/make_switch.py
"""

from tests.unit.test_switch_golden import FAMILIES, FOLDER

if __name__ == "__main__":
    for family in FAMILIES:
        folder = FOLDER / family.name
        for text in sorted(folder.glob("*.txt")):
            if text.suffixes == [".txt"]:
                answers = family.answers(text.read_text())
                text.with_suffix(".seen").write_text(family.seen_text(answers))
                text.with_suffix(".lines").write_text(family.lines(answers))

"""Every family that ships, by name."""

from understudy.tasks.arithmetic import PRODUCTS, SUMS
from understudy.tasks.calendar import CALENDAR
from understudy.tasks.facts import FACTS
from understudy.tasks.family import Family
from understudy.tasks.programs import PROGRAMS
from understudy.tasks.sequences import SEQUENCES
from understudy.tasks.stories import STORIES
from understudy.tasks.strings import STRINGS

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (SUMS, PRODUCTS, STORIES, STRINGS, PROGRAMS, CALENDAR, FACTS, SEQUENCES)
}

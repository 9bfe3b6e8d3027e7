# ruff: noqa: E501 (one list stands on one line)
"""Trouble at school and university."""

from ..topic import Situation, Topic

TOPIC = Topic(
    name="school",
    bystanders="teacher, professor, tutor, classmate, lab partner, coach, librarian, teammate, roommate, mother, best friend, cousin",
    things="laptop, calculator, textbook, backpack, lecture notes, violin, bike, headphones, tablet, sneakers, skateboard",
    places="library, classroom, lecture hall, computer lab, chemistry lab, dorm, dining hall, school bus, football field, locker room, hallway, cafeteria, campus, gym, video call, group chat",
    situations=(
        Situation(
            "credit",
            who="classmate, lab partner, study group, teammate, roommate, tutor",
            events="copied, took credit for, deleted, messed up, rewrote, lost",
            things="essay, lab notes, group project, lecture notes, research, homework, study guide, presentation, code",
            questions="file a complaint, switch groups, do the work alone, ask for an extension, drop the class",
        ),
        Situation(
            "denial",
            who="professor, thesis advisor, teacher, tutor",
            events="lost, rejected, ignored, forgot about, delayed, criticized",
            things="essay, thesis, lab notes, final exam, research, homework, presentation",
            questions="ask for an extension, drop the class, go over their head",
        ),
        Situation(
            "denial",
            who="principal, coach, teacher, professor, thesis advisor",
            events="refused to sign, lost, ignored, forgot about, delayed",
            things="scholarship application, reference letter",
            questions="go over their head, file a complaint",
        ),
        Situation(
            "break",
            who="classmate, lab partner, study group, teammate, roommate, librarian",
            events="broke, cracked, dropped, stepped on, spilled coffee on, sat on",
            things="laptop, calculator, tablet, glasses, headphones, phone, violin, keyboard, skateboard",
            questions="tell my parents",
        ),
        Situation(
            "break",
            who="classmate, lab partner, study group, teammate, roommate, librarian, tutor",
            events="spilled coffee on, ripped, ruined, stained",
            things="textbook, lecture notes, essay, uniform, backpack, costume, paintings",
            questions="tell my parents, ask for an extension",
        ),
        Situation(
            "take",
            who="classmate, lab partner, study group, teammate, roommate, librarian",
            events="stole, lost, secretly borrowed, threw away, refused to return",
            things="textbook, calculator, lecture notes, backpack, bike, uniform, study guide, tennis racket, sneakers, tablet, costume",
            questions="tell my parents, file a complaint",
        ),
        Situation(
            "secret",
            who="classmate, lab partner, teammate, roommate, teacher, tutor",
            events="told everyone about, made fun of, gossiped about, posted about, joked about",
            things="diagnosis, student loans, breakup, accent, weight, poetry, religion, therapy, haircut, text messages, diary",
            questions="tell my parents, file a complaint, switch groups",
        ),
        Situation(
            "occasion",
            who="classmate, lab partner, study group, teammate, roommate, coach, thesis advisor, tutor",
            events="skipped, missed, slept through, showed up late to, forgot about",
            things="presentation, recital, art show, graduation, group project, birthday",
            questions="switch groups, do the work alone, go over their head",
            places="lecture hall, gym, library, campus, dining hall, computer lab, football field, classroom",
        ),
    ),
    background=(
        "I am {a freshman|a sophomore|a junior|a senior|in my second year} {studying|majoring in} {biology|history|nursing|physics|economics|music|linguistics|accounting|engineering} in [city].",
        "{The course|This class} is {required|graded on a curve|hard enough}, and <who2> {told me to take it|says it gets easier|came by to help}.",
        "I {live|stay} {with <who2>|in a shared room|off the main grounds} and {walk|cycle|take the bus} to class, {always|usually} with <thing2>.",
        "{On the side|After class} I {work|earn money} as a(n) [job], {so I sleep little|[number] hours a week|to cover my books}.",
        "<who2> {is|used to be} {really|super|pretty} [trait] and {into|obsessed with|all about} [hobby].",
        "I {transferred|moved} here from [city] <time2>, {knowing nobody|on a small grant|mostly for the program}.",
        "There were [number] of us {in that class|at the table|working late}, {living on|sharing} [food] and {bad coffee|energy drinks}.",
        "I {bought|got} <thing2> {with my first pay|secondhand|on sale} <time2>, and {<who2> was a little envious|still owe [amount] on that}.",
        "{My grades|My marks} {are|have been} {decent|all over the place|good}, {thanks to|mostly because of} <who2>.",
        "{It was|This is} {my last|a rough} semester, and [weather] {the whole week|nearly every day}.",
    ),
)

"""How the writer feels about it. One line is one value; the wordings of a value are separated by `|`."""

FEELINGS = """
furious | livid
angry | mad
upset
hurt
betrayed
humiliated | mortified
embarrassed
anxious
nervous
worried
confused
pulled both ways
guilty
ashamed
disappointed | let down
heartbroken | crushed
sad
lonely
exhausted | worn out
overwhelmed
frustrated
annoyed | irritated
resentful | bitter
jealous
disrespected
overlooked
helpless | powerless
stuck
numb
shocked | stunned
bewildered
offended
taken advantage of
suspicious
uneasy
scared
stressed
miserable
foolish
fed up
drained
hopeless
skeptical
conflicted
paranoid
awkward
unappreciated
vulnerable
restless
"""

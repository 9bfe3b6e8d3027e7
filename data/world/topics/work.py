# ruff: noqa: E501 (one list stands on one line)
"""Trouble at work."""

from ..topic import Situation, Topic

TOPIC = Topic(
    name="work",
    bystanders="boss, supervisor, coworker, intern, assistant, receptionist, team lead, accountant, cleaner",
    things="laptop, headphones, umbrella, jacket, lunch, phone, favorite mug, backpack, camera, scarf, tablet",
    places="office, break room, parking garage, conference room, lobby, elevator, stairwell, warehouse, copy room, waiting room, company picnic, trade fair, holiday party, cafeteria, video call, group chat",
    situations=(
        Situation(
            "credit",
            who="boss, supervisor, client, team lead",
            events="took credit for, rejected, rewrote, criticized, delayed",
            things="quarterly report, presentation, spreadsheet, proposal, budget, design, code, business idea",
            questions="go to hr, go over their head, quit, look for another job",
        ),
        Situation(
            "credit",
            who="coworker, intern, assistant, team lead, supervisor",
            events="took credit for, deleted, rewrote, messed up, copied, leaked",
            things="quarterly report, presentation, spreadsheet, proposal, budget, design, code, business idea",
            questions="go to hr, go over their head, ask for an apology",
        ),
        Situation(
            "break",
            who="coworker, intern, assistant, client, receptionist, boss",
            events="broke, cracked, dropped, sat on, spilled coffee on, stepped on",
            things="laptop, phone, favorite mug, keyboard, monitor, headphones, tablet, glasses, lamp, calculator",
            questions="go to hr",
        ),
        Situation(
            "food",
            who="coworker, intern, assistant, receptionist, supervisor, team lead",
            events="ate, finished off, stole, threw away",
            things="lunch, leftovers, cookies, soup, chocolate, frozen pizza, expensive cheese",
            questions="go to hr",
            places="break room, cafeteria, copy room, office, conference room, company picnic",
        ),
        Situation(
            "denial",
            who="boss, supervisor, team lead",
            events="rejected, refused to sign, ignored, forgot about, lost, delayed",
            things="time-off request, sick leave, reference letter, contract, expense claim",
            questions="go to hr, go over their head, quit, look for another job, take some time off",
        ),
        Situation(
            "denial",
            who="boss, supervisor, team lead, recruiter",
            events="delayed, forgot about, ignored, lied about, held back",
            things="pay raise, overtime, promotion, paycheck",
            questions="go to hr, go over their head, quit, look for another job",
        ),
        Situation(
            "secret",
            who="coworker, assistant, boss, supervisor, recruiter, receptionist, team lead",
            events="told everyone about, gossiped about, joked about, announced, posted about",
            things="pregnancy, salary, divorce, diagnosis, job search, promotion, sick leave, therapy, breakup",
            questions="go to hr, quit, look for another job",
        ),
        Situation(
            "nuisance",
            who="coworker, intern, assistant, team lead, receptionist",
            events="kept using, took over, unplugged, complained about",
            things="keyboard, monitor, headphones, lamp, laptop",
            questions="go to hr, go over their head",
            places="office, copy room, conference room, break room, warehouse, waiting room",
        ),
        Situation(
            "nuisance",
            who="coworker, intern, assistant, team lead, receptionist, supervisor",
            events="rearranged, took over, kept using, complained about",
            things="desk, office chair, houseplants, shift, calculator",
            questions="go to hr, go over their head",
            places="office, copy room, conference room, break room, warehouse, waiting room",
        ),
    ),
    background=(
        "I {work|have worked|am} {as|in [city] as} a(n) [job]{| for a small company| in a firm of thirty people| for [span]}{|, mostly remote}.",
        "We are a team of [number] and share {one printer|a tiny room|one big table|a coat rack} with <who2>.",
        "{<who2>|[name] from sales} {brings|always brings|likes to bring} [food] {on Fridays|for the team|when someone has a birthday}.",
        "{Most days|On normal days|Usually} I {answer emails|sit in meetings|fix invoices|greet visitors} and {dream about|look forward to} [hobby].",
        "I {started|was hired} <time2>{| straight out of college| after a long search| with no training}, and <who2> {showed me around|trained me|was kind to me}.",
        "{The company|Our firm|The place} {makes|sells|imports} {garden tools|paper boxes|hearing aids|bathroom tiles|software|soap} and {moved|grew|nearly closed} <time2>.",
        "{My commute|The drive} {takes|is} [number] {stops|miles}, and {I always carry|all I bring is|I never forget} <thing2>.",
        "<who2> {is training for a marathon|just had twins|is retiring soon|got married <time2>}, so {we are short of hands|everyone is distracted|there is a lot going on}.",
        "I {keep|have} <thing2> {at work|there}, {next to|near} {a picture of my family|a jar of [food]|a tiny cactus|an old printer}.",
        "We {had|were having} {an audit|a big launch|inventory|a fire drill|new carpets put in} that week, and <who2> was {on vacation|no help|running the show}.",
    ),
)

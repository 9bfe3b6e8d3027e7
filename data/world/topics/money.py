# ruff: noqa: E501 (one list stands on one line)
"""Trouble over money, banks and hired help."""

from ..topic import Situation, Topic

TOPIC = Topic(
    name="money",
    bystanders="accountant, brother, cousin, roommate, father, mother, aunt, uncle, best friend, coworker, grandmother, sister",
    things="car, truck, washing machine, motorcycle, piano, boots, television, fence, laptop, credit card, couch",
    places="bank, courthouse, repair shop, dealership, casino, office, kitchen, coffee shop, flea market, yard sale, gas station, video call, parking garage",
    situations=(
        Situation(
            "money",
            who="accountant, business partner, financial advisor, brother, cousin, uncle, husband, wife",
            events="gambled away, blew, lied about, refused to return, messed up",
            things="savings, emergency fund, inheritance, tax refund, down payment, loan, college fund",
            places="casino, bank, flea market, dealership, courthouse, video call, restaurant, office",
        ),
        Situation(
            "money",
            who="business partner, financial advisor, brother, cousin, husband, wife, roommate",
            events="emptied, dipped into, lied about, blew",
            things="savings, emergency fund, inheritance, college fund",
            places="casino, bank, flea market, dealership, courthouse, video call, restaurant, office",
        ),
        Situation(
            "charge",
            who="mechanic",
            events="overcharged me for, messed up, lied about, delayed, ruined",
            things="car, truck, motorcycle, scooter, bike",
            places="repair shop, gas station, dealership, highway, parking garage, rest stop",
        ),
        Situation(
            "charge",
            who="contractor, plumber, handyman",
            events="overcharged me for, messed up, lied about, ruined, forgot about",
            things="heater, leaky faucet, washing machine, driveway, fence, broken window",
            places="kitchen, bathroom, basement, backyard, front lawn, attic, living room, porch",
        ),
        Situation(
            "botch",
            who="contractor, plumber, moving company, handyman, cleaner",
            events="broke, dropped, scratched, cracked, ruined, flooded",
            things="piano, washing machine, television, mirror, bookshelf, record player, desk, coffee table",
            places="living room, hallway, stairwell, basement, attic, kitchen, porch, elevator",
        ),
        Situation(
            "denial",
            who="insurance company, credit union, accountant, financial advisor, business partner",
            events="rejected, lost, ignored, delayed, refused to pay, mixed up",
            things="expense claim, loan, tax refund, contract, inheritance",
            questions="close the account, leave a bad review, get a second opinion",
            places="bank, courthouse, office, video call, waiting room, lobby, conference room",
        ),
        Situation(
            "owed",
            who="best friend, roommate, cousin, brother, sister, childhood friend, teammate, bandmate",
            events="refused to pay, forgot about, lied about, ignored",
            things="loan, dinner bill, rent, internet bill, electric bill, security deposit",
            places="coffee shop, restaurant, pub, kitchen, video call, flea market, group chat, sushi place, pizzeria",
        ),
        Situation(
            "take",
            who="cousin, brother, roommate, business partner, ex, moving company, cleaner",
            events="stole, lost, kept using, refused to return, secretly borrowed",
            things="credit card, wallet, watch, camera, laptop, grandmother's ring, purse, jacket, toolbox",
            questions="close the account, ask for my money back, talk to a lawyer",
            places="casino, gas station, flea market, coffee shop, parking garage, repair shop, yard sale, bank, mall",
        ),
    ),
    background=(
        "I am {a(n) [job]|self employed|between jobs} and {live|get by} on {a modest income|tips|what I put aside}.",
        "{We|My family and I} are {saving|trying to save} for {a house|braces|a new roof|a baby|a move to [city]}, {which takes forever|so every cent counts}.",
        "<who2> {recommended|suggested|found} them {because they were cheap|after a long search|over [food]|<time2>}.",
        "I {opened|set up} {a jar for coins|a little shop} <time2> with help from <who2>.",
        "{The whole thing|All this} {began|started} with <thing2> and {a lot of goodwill|a handshake}.",
        "I grew up {poor|careful with money|in [city]}, {so|and} <who2> {taught me to count every dollar|calls me a miser|still slips me a twenty}.",
        "<who2> {works|used to work} as a(n) [job] and {knows|understands} {these things|numbers} {better than I do|very well}.",
        "{I have|There is} {another|one more} {big expense|payment} {coming|due} for <thing2>, plus [amount] for {the dentist|new tires|glasses frames|school supplies}.",
        "We {go back|have known each other} [span]{|, ever since a course in [hobby]|, and our kids play together}.",
        "{That day|It was one of those days:} [weather], and I was {running late|short on sleep|in a hurry} because of <who2>.",
    ),
)

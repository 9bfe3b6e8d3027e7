# ruff: noqa: E501 (one list stands on one line)
"""Trouble between partners."""

from ..topic import Situation, Topic

TOPIC = Topic(
    name="dating",
    bystanders="mother-in-law, best friend, sister, brother, childhood friend, roommate, cousin, aunt, coworker, mother, father",
    things="necklace, bracelet, jacket, guitar, camera, suitcase, umbrella, scarf, watch, telescope, paintings",
    places="restaurant, sushi place, steakhouse, pizzeria, coffee shop, movie theater, brewery, beach, lake, bowling alley, museum, zoo, music festival, karaoke night, nightclub, video call",
    situations=(
        Situation(
            "lie",
            who="boyfriend, girlfriend, husband, wife, fiance, ex",
            events="lied about, covered up, joked about",
            things="age, real name, debts, drinking, gambling, smoking, criminal record, first marriage, work hours, old flame",
            questions="break up with them, tell my parents, take some time off",
        ),
        Situation(
            "occasion",
            who="boyfriend, girlfriend, husband, wife, fiance",
            events="forgot about, missed, skipped, showed up late to, got drunk at, slept through",
            things="birthday, anniversary, graduation, recital, art show, dinner reservation, movie night, housewarming",
            questions="break up with them, see a counselor",
            places="restaurant, sushi place, steakhouse, lake, beach, brewery, museum, bowling alley, pizzeria, zoo",
        ),
        Situation(
            "cancel",
            who="boyfriend, girlfriend, husband, wife, fiance",
            events="canceled, backed out of, postponed, forgot about",
            things="dinner reservation, road trip, vacation, weekend getaway, movie night, camping trip",
            questions="break up with them, see a counselor",
        ),
        Situation(
            "cancel",
            who="fiance, boyfriend, girlfriend",
            events="canceled, backed out of, postponed, lied about",
            things="wedding, engagement, honeymoon, vacation",
            questions="break up with them, see a counselor, tell my parents",
        ),
        Situation(
            "cancel",
            who="crush, prom date, ex",
            events="canceled, backed out of, forgot about",
            things="dinner reservation, movie night, hiking trip, road trip",
            questions="tell my parents, take some time off",
        ),
        Situation(
            "snoop",
            who="boyfriend, girlfriend, husband, wife, fiance, ex",
            events="snooped through, posted about, made fun of",
            things="diary, text messages, emails, old letters, photographs, poetry",
            questions="break up with them, see a counselor, move out",
            places="living room, kitchen, bathroom, hotel, coffee shop, airport, hallway, beach, library",
        ),
        Situation(
            "snoop",
            who="boyfriend, girlfriend, husband, wife, fiance, ex",
            events="snooped through, lost, kept using",
            things="phone, purse, laptop, wallet, tablet",
            questions="break up with them, see a counselor",
            places="living room, kitchen, bathroom, hotel, coffee shop, airport, hallway, beach, library",
        ),
        Situation(
            "take",
            who="boyfriend, girlfriend, husband, wife, fiance, ex",
            events="sold, lost, gave away, refused to return, threw away, secretly borrowed",
            things="diamond ring, necklace, bracelet, earrings, jacket, camera, guitar, surfboard, vinyl records, spare keys, old letters, sweater",
            questions="break up with them, call the police",
        ),
        Situation(
            "scorn",
            who="boyfriend, girlfriend, husband, wife, fiance, ex, crush, prom date",
            events="made fun of, criticized, sneered at, complained about, joked about",
            things="cooking, accent, weight, haircut, poetry, religion, paintings, salary, swimsuit, family recipe, diet",
            questions="break up with them, see a counselor, give them another chance",
        ),
        Situation(
            "money",
            who="boyfriend, girlfriend, husband, wife, fiance",
            events="gambled away, blew, emptied, dipped into, lied about",
            things="savings, emergency fund, inheritance, college fund",
            questions="break up with them, see a counselor, tell my parents",
            places="casino, bank, kitchen, dealership, restaurant, nightclub, mall, courthouse",
        ),
    ),
    background=(
        "We {met|matched|bumped into each other} {<place2>|through [name]|while [chore]|over [food]} <time2> and {clicked|have been together ever since|talked all night}.",
        "I am [age], they are [age]{|, and we both like [hobby]|, if that matters|, both shy}.",
        "{Things|Everything} {had been going|was going} {well|great|smoothly}, {even <who2> approved|we had talked about moving in together|apart from small fights about [chore]}.",
        "<who2> {introduced us|was against this from the start|says we rush things}, being {very [trait]|a romantic at heart|the cautious type}.",
        "We {share|rent} a {small flat|tiny studio|little house} in [city] {with a garden|that allows no pets|that smells of [food]}.",
        "I {work|am employed} as a(n) [job] and they are a(n) [job], so {we rarely have the same days off|money is tight|evenings are precious}.",
        "{I wore|I had on} {my nicest clothes|a new shirt|too much perfume} and had <thing2> {with me|ready|wrapped as a present}.",
        "{We usually|Most weekends we} {watch|end up watching} [show] {together|on the floor|under a blanket} and {order|cook|share} [food].",
        "{Recently|Not long ago} we {went to see|had dinner with|helped} <who2>, and it was {lovely|fun|a little stiff}.",
        "{My friends|My parents|People at work} {like|adore} them, especially <who2>.",
    ),
)

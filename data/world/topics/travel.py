# ruff: noqa: E501 (one list stands on one line)
"""Trouble on the road."""

from ..topic import Situation, Topic

TOPIC = Topic(
    name="travel",
    bystanders="travel companion, best friend, cousin, sister, brother, aunt, niece, mother, father, teammate, coworker",
    things="suitcase, camera, backpack, tent, surfboard, boots, sleeping bag, umbrella, souvenirs, headphones, snowboard, jacket",
    places="airport, train station, plane, ferry, subway, taxi, hotel, hostel, campground, rest stop, gas station, border, highway, cruise, ski resort, beach, woods, restaurant, museum",
    situations=(
        Situation(
            "luggage",
            who="airline, concierge, host, tour guide, driver, guy in the next seat, travel companion, cousin",
            events="lost, left behind, stole, threw away, mixed up",
            things="suitcase, passport, camera, backpack, souvenirs, jacket, headphones, purse, rail tickets, umbrella",
            questions="ask for a refund, leave a bad review, travel alone next time, file a complaint",
        ),
        Situation(
            "cancel",
            who="airline, concierge, host, travel agent, guy in the next seat, travel companion",
            events="gave away, double booked, took over, mixed up",
            things="window seat, suite",
            questions="ask for a refund, leave a bad review, travel alone next time, file a complaint",
            places="airport, plane, hotel, cruise, ferry, ski resort, train station, hostel",
        ),
        Situation(
            "cancel",
            who="airline, travel agent, concierge, host, tour guide, driver, travel companion, best friend, cousin, sister, boyfriend, girlfriend, wife, husband",
            events="canceled, double booked, postponed, mixed up, forgot about",
            things="flight, suite, road trip, vacation, hiking trip, camping trip, dinner reservation, weekend getaway",
            questions="ask for a refund, leave a bad review, travel alone next time, file a complaint",
            places="airport, train station, hotel, hostel, ferry, border, rest stop, restaurant, video call",
        ),
        Situation(
            "break",
            who="travel companion, best friend, cousin, sister, boyfriend, girlfriend, wife, husband, guy in the next seat, driver, airline, tour guide",
            events="broke, cracked, dropped, sat on, stepped on, spilled coffee on, ruined",
            things="camera, suitcase, surfboard, glasses, tablet, phone, guitar, snowboard, laptop, souvenirs, kayak",
            questions="ask for a refund, travel alone next time",
        ),
        Situation(
            "occasion",
            who="travel companion, best friend, cousin, sister, boyfriend, girlfriend, wife, husband",
            events="missed, skipped, showed up late to, forgot about",
            things="birthday, surprise party, dinner reservation, hiking trip, movie night",
            questions="travel alone next time, go without them, ask for my money back",
            places="hotel, hostel, airport, train station, beach, ski resort, restaurant, campground, ferry, woods",
        ),
        Situation(
            "cancel",
            who="tour guide, driver, host",
            events="missed, slept through, showed up late to, forgot about, got drunk at",
            things="hiking trip, dinner reservation, camping trip",
            questions="travel alone next time, go without them, ask for a refund, leave a bad review",
            places="hotel, hostel, airport, train station, beach, ski resort, restaurant, campground, ferry, woods",
        ),
        Situation(
            "charge",
            who="airline, travel agent, concierge, host, tour guide, driver",
            events="overcharged me for, refused to refund, lied about, messed up",
            things="flight, suite, rail tickets, vacation, hiking trip, security deposit, camping trip",
            questions="travel alone next time",
        ),
        Situation(
            "scorn",
            who="travel companion, best friend, cousin, sister, boyfriend, girlfriend, wife, husband, tour guide, host, guy in the next seat",
            events="made fun of, complained about, criticized, sneered at, joked about",
            things="accent, travel itinerary, swimsuit, haircut, cooking, photographs, weight, playlist, religion",
            questions="travel alone next time, leave a bad review",
        ),
    ),
    background=(
        "{This was|It was} {supposed to be|meant as} {a dream trip|a quiet break|my reward} after {a hard year|months of [chore]|passing my exams}.",
        "{We flew|I flew|We drove} in from [city], {[number] hours|a long haul}, with <thing2> {on my lap|squeezed in the back}.",
        "I had never been {abroad|out of [city]|so far from home} before, and <who2> {helped me plan|lent me a map|wanted to come too}.",
        "<who2> {came along|joined us} {at the last minute|because of a discount|on day two}, and talked about [hobby] the whole way.",
        "{To top it off|Besides}, [weather] and {the bus was late|the line was endless|the signs made no sense|nobody had slept}.",
        "I {packed|brought} <thing2> and {too many socks|a first aid kit|six books|[food] for the road}, {as usual|like an amateur}.",
        "{On the first day|On the second day|One rainy afternoon} we {stopped|waited|had a nice time} <place2> {for an hour|with <who2>|sharing [food]}.",
        "I {saved|had saved} [span] for {this trip|these two weeks}, working as a(n) [job].",
        "{Our group was|We were} [number] people, {one of them <who2>|mostly strangers from [city]}, {each one [trait]|all into [hobby]}.",
        "{The country|The region} is {gorgeous|stunning|hot} and <who2> loved it, and the {people were|views were} {worth it|wonderful|the best part}.",
    ),
)

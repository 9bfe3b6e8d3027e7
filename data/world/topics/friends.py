# ruff: noqa: E501 (one list stands on one line)
"""Trouble between friends."""

from ..topic import Situation, Topic

TOPIC = Topic(
    name="friends",
    bystanders="best friend, childhood friend, running buddy, bandmate, teammate, bridesmaid, best man, sister, cousin, roommate, coworker",
    things="guitar, camera, tent, jacket, board game, skateboard, drums, bike, vinyl records, telescope, kayak, costume",
    places="coffee shop, pub, karaoke night, brewery, nightclub, movie theater, music festival, bowling alley, gym, pool, beach, lake, mall, bridal shop, community center, barbecue, pizzeria, social media, group chat",
    situations=(
        Situation(
            "secret",
            who="best friend, childhood friend, running buddy, bandmate, teammate, bridesmaid, best man, classmate, book club, barber",
            events="told everyone about, gossiped about, posted about, joked about, made fun of",
            things="breakup, salary, therapy, weight, student loans, diagnosis, job search",
            questions="end the friendship, save the friendship, leave the group",
        ),
        Situation(
            "secret",
            who="best friend, childhood friend, running buddy, bandmate, teammate, bridesmaid, best man, classmate, book club, barber",
            events="told everyone about, announced, gossiped about, posted about, joked about",
            things="pregnancy, divorce, diagnosis, engagement, baby name, surgery",
            questions="end the friendship, save the friendship, leave the group",
        ),
        Situation(
            "cancel",
            who="best friend, childhood friend, running buddy, bandmate, teammate, bridesmaid, best man, classmate, book club",
            events="canceled, backed out of, postponed, forgot about, double booked",
            things="road trip, vacation, camping trip, movie night, dinner reservation, hiking trip, surprise party, weekend getaway, fantasy league",
            questions="end the friendship, save the friendship, leave the group",
        ),
        Situation(
            "break",
            who="best friend, childhood friend, running buddy, bandmate, teammate, bridesmaid, best man, classmate",
            events="broke, cracked, dropped, ruined, sat on, spilled wine on, scratched",
            things="guitar, camera, telescope, drums, glasses, board game, record player, skateboard, tennis racket, phone",
            questions="save the friendship",
        ),
        Situation(
            "take",
            who="best friend, childhood friend, running buddy, bandmate, teammate, bridesmaid, best man, classmate",
            events="refused to return, lost, sold, gave away, secretly borrowed, kept using",
            things="tent, jacket, camera, bike, board game, costume, vinyl records, sleeping bag, kayak, power drill, suit, surfboard",
            questions="end the friendship, save the friendship",
        ),
        Situation(
            "occasion",
            who="best friend, childhood friend, running buddy, bandmate, teammate, bridesmaid, best man, classmate, book club",
            events="missed, skipped, forgot about, showed up late to, left early from, got drunk at, slept through",
            things="birthday, wedding, graduation, baby shower, housewarming, art show, recital, surprise party, movie night",
            questions="end the friendship, save the friendship, take them off the guest list",
            places="pub, karaoke night, brewery, community center, lake, beach, pizzeria, bowling alley, church, museum",
        ),
        Situation(
            "idea",
            who="bandmate, best friend, teammate, childhood friend, classmate",
            events="copied, took credit for, rewrote, leaked, messed up, made fun of",
            things="playlist, poetry, band's demo, business idea, design, family recipe",
            questions="end the friendship, save the friendship, leave the group, ask for an apology",
        ),
        Situation(
            "idea",
            who="best friend, childhood friend, bridesmaid, best man, running buddy",
            events="copied, took credit for, made fun of, joked about",
            things="costume, wedding, baby name, family recipe, paintings, haircut",
            questions="end the friendship, save the friendship, ask for an apology",
        ),
        Situation(
            "scorn",
            who="best friend, childhood friend, running buddy, bandmate, teammate, bridesmaid, best man, classmate, book club, barber",
            events="made fun of, criticized, sneered at, complained about",
            things="haircut, poetry, paintings, cooking, accent, playlist, swimsuit, weight, religion, costume",
            questions="end the friendship, save the friendship, leave the group",
        ),
    ),
    background=(
        "We {have been friends|go back|have known each other} for [span]{|, since a summer camp near [city]|, through thick and thin|, and shared a locker once}.",
        "{Every|Each} {Thursday|other week|month} we {meet|get together} for [hobby] and [food], {usually|mostly} with <who2>.",
        "<who2> {moved|went} to [city] <time2>, so {it is mostly the two of us now|the group got smaller|we have grown apart a little}.",
        "I am {the organizer|the quiet one|the driver|the listener} {in our group|among us}, while <who2> is {the loud one|rather [trait]|the joker}.",
        "I {lent|once lent} <who2> <thing2> {for half a year|without a second thought} and {everything was fine|never had a problem}.",
        "{I work as|I am} a(n) [job], {so free evenings are rare|and new in town} and {my circle|the circle} is small.",
        "<who2> was {there too|with us}, {enjoying|craving} [food] and talking about [hobby].",
        "We {had been|were} watching [show] with <who2>, {laughing like kids|having a good time|half asleep}.",
        "{Some of us|We all} {chipped in|helped} when <who2> {was ill|moved house|needed money for <thing2>} <time2>.",
        "{I had brought|I brought} <thing2> and {homemade|fresh} [food], {as always|which took all day}.",
    ),
)

"""Names, cities, jobs, hobbies and other small detail that colors a post and is beside its point.

`|` separates the items.
"""

_BLOCKS = {
    "name": """
        Aaron | Abby | Adrian | Alice | Amanda | Amy | Andrea | Anita | Arthur | Ashley | Beatrice | Ben | Bianca |
        Brandon | Brenda | Brian | Caleb | Carla | Carmen | Cassie | Cheryl | Chloe | Claire | Colin | Craig |
        Cynthia | Daisy | Damian | Dana | Darren | Deborah | Derek | Diego | Donna | Dylan | Edith | Eleanor | Elena
        | Eric | Esther | Ethan | Felix | Fiona | Gabriel | Gavin | Gloria | Gordon | Grace | Hannah | Harold |
        Heather | Hector | Helen | Ian | Irene | Isaac | Ivan | Jasmine | Jenna | Joel | Joyce | Julia | Karen |
        Keith | Kevin | Lara | Laura | Leah | Leo | Linda | Louise | Lucas | Marcus | Maria | Martin | Megan |
        Miguel | Mike | Monica | Nadia | Natalie | Nathan | Nina | Olga | Oscar | Pamela | Paula | Pedro | Rachel |
        Raj | Rebecca | Roger | Rosa | Ruth | Samir | Sandra | Sean | Simon | Sofia | Stella | Steve | Susan | Tara
        | Theresa | Tina | Trevor | Valerie | Vera | Victor | Wendy | Yusuf | Zoe
    """,
    "nickname": """
        Alex | Avery | Blake | Cameron | Casey | Charlie | Dakota | Devon | Drew | Emery | Frankie | Hayden | Jamie
        | Jesse | Jordan | Kai | Kelly | Kendall | Lee | Lou | Morgan | Parker | Pat | Quinn | Reese | Riley | Robin
        | Rowan | Sam | Sidney | Skyler | Taylor | Toby | Val
    """,
    "city": """
        Albany | Atlanta | Austin | Baltimore | Berlin | Boise | Boston | Bristol | Buffalo | Calgary | Charlotte |
        Chicago | Cleveland | Columbus | Dallas | Denver | Detroit | Dublin | Edinburgh | El Paso | Fresno | Glasgow
        | Halifax | Hartford | Houston | Leeds | Lisbon | Madison | Memphis | Miami | Milwaukee | Montreal |
        Nashville | Oakland | Omaha | Orlando | Ottawa | Philadelphia | Phoenix | Pittsburgh | Portland | Raleigh |
        Reno | Richmond | Sacramento | Seattle | Spokane | Tampa | Toronto | Tucson | Tulsa | Vancouver | Winnipeg
    """,
    "job": """
        nurse | welder | line cook | bookkeeper | paralegal | barista | carpenter | dental hygienist | electrician |
        florist | graphic designer | pharmacist | night guard | bartender | translator | data analyst | social
        worker | truck driver | software tester | baker | copy editor | warehouse clerk | physical therapist |
        substitute | web developer | lab technician | security guard | sales rep | call center agent | kindergarten
        aide | freelance illustrator | court reporter | delivery driver | radiology tech | stage manager | surveyor
        | machinist | park ranger | tailor | optician | audio engineer | project manager | insurance adjuster |
        zookeeper | flight attendant | interpreter | yoga instructor | locksmith
    """,
    "hobby": """
        pottery | knitting | rock climbing | chess | birdwatching | salsa dancing | archery | woodworking |
        gardening | baking bread | trail running | fencing | karate | calligraphy | stargazing | fly fishing |
        origami | choir practice | improv comedy | swimming laps | crossword puzzles | quilting | juggling |
        homebrewing | pickleball | bowling | badminton | learning Spanish | learning the banjo | model trains |
        geocaching | roller skating | volleyball | candle making | ceramics | weightlifting | sketching | astronomy
        | board games | ice skating | beekeeping | yoga | video games | true crime podcasts
    """,
    "food": """
        tacos | lasagna | ramen | dumplings | pancakes | falafel | curry | mac and cheese | bagels | waffles | clam
        chowder | pad thai | meatballs | chili | risotto | banana bread | enchiladas | pierogi | fried rice |
        oatmeal | burritos | cheesecake | lentil stew | gumbo | kimchi | popcorn | apple pie | grilled cheese |
        hummus | gnocchi | cornbread | potato salad | spring rolls | muffins | scrambled eggs | peach cobbler |
        roast chicken | tuna casserole | ice cream
    """,
    "show": """
        a baking contest | a cooking show | a hockey game | a nature documentary | a soap opera | an old western | a
        quiz show | a detective series | the playoffs | the local news | a horror movie | a reality show | a space
        opera | a sitcom | a cartoon
    """,
    "chore": """
        folding laundry | washing the windows | doing the dishes | raking leaves | shoveling snow | mopping the
        floor | cleaning the gutters | sorting the recycling | paying bills | ironing shirts | fixing the toilet |
        taking out the trash | scrubbing the oven | weeding the flower beds | changing a tire | assembling a crib |
        hanging shelves | unpacking boxes | grocery shopping | walking home
    """,
    "weather": """
        it was pouring rain | it was snowing | it was freezing outside | there was a heat wave | it was unusually
        windy | it was foggy | there was a thunderstorm | it was a gorgeous sunny day | it hailed | the power kept
        flickering | it was muggy | the roads were icy
    """,
    "number": """
        two | three | four | five | six | seven | eight | nine | ten | eleven | twelve | fourteen | fifteen
    """,
    "amount": """
        forty dollars | sixty dollars | eighty dollars | ninety bucks | a hundred dollars | a hundred and fifty
        dollars | two hundred dollars | two hundred and fifty bucks | three hundred dollars | almost four hundred
        dollars | five hundred dollars | over six hundred dollars | seven hundred dollars | nearly nine hundred
        bucks | about a thousand dollars | twelve hundred dollars | close to two thousand dollars | a small fortune
        | most of a month's pay | more than I can afford
    """,
    "span": """
        a few months | half a year | almost a year | about a year | eighteen months | two years | three years | four
        years | five years | six years | nearly a decade | ten years | a dozen years | most of my life | as long as
        I can remember | quite a while
    """,
    "age": """
        nineteen | twenty | twenty-one | twenty-two | twenty-three | twenty-four | twenty-five | twenty-six |
        twenty-seven | twenty-eight | twenty-nine | thirty | thirty-one | thirty-two | thirty-four | thirty-six |
        thirty-eight | forty | forty-one | forty-three | forty-five | forty-eight | fifty | fifty-two
    """,
    "trait": """
        tidy | stubborn | charming | generous | forgetful | competitive | chatty | messy | proud | shy | dramatic |
        sarcastic | clumsy | impatient | laid back | moody | picky | bossy | soft spoken | impulsive | nosy |
        cheerful | lazy | ambitious | private | old fashioned
    """,
}

FILLERS = {name: tuple(" ".join(item.split()) for item in block.split("|")) for name, block in _BLOCKS.items()}

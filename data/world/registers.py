"""How a post is told: sentence templates shared by all writers, and those of each register.

Every rule holds sentences of one role. Slots: `<who> <past> <participle> <gerund> <thing> <place> <time> <feeling> <question>` are the facts;
`<who2> <thing2> <place2> <time2> <question2>` are beside the point.
"""

SHARED = {
    # Who did what, without place or time.
    "event_plain": (
        "{[lead] |}<who> {[adverb] |}<past> <thing>.",
        "{[lead] |}<named_who> {[adverb] |}<past> <thing>.",
        "{[lead] |}<who> has {[adverb] |}<participle> <thing>.",
        "{[subject] is|[subject] is basically|It is about|This is about} <who> <gerund> <thing>.",
        "{It {started|began|all began} with|I {am|have been} dealing with} <who> <gerund> <thing>.",
    ),
    "event_time": (
        "{[lead] |}<time> <who> {[adverb] |}<past> <thing>.",
        "{[lead] |}<who> {[adverb] |}<past> <thing> <time>{| and I am still not over it| and nobody seems to care|, of all days|, of which [name] knows|, and life went on|, and I only blinked}.",
        "<time>, {to my surprise|out of nowhere|without warning|when I was not looking|like it was nothing}, <who> <past> <thing>.",
        "<named_who> {[adverb] |}<past> <thing> <time>.",
        "It was <time> {when|that} <who> <past> <thing>.",
    ),
    "event_place": (
        "{[lead] |}<who> {[adverb] |}<past> <thing> <place>.",
        "<place>, {of all places|in front of people|in plain sight|where everybody could see}, <who> <past> <thing>.",
        "We were <place> {when|and} <who> {[adverb] |}<past> <thing>.",
        "<named_who> <past> <thing> <place>{| in front of [number] people| without a word}.",
    ),
    "event_both": (
        "{[lead] |}<who> <past> <thing> <place> <time>.",
        "{[lead] |}<time> <who> {[adverb] |}<past> <thing> <place>.",
        "{We were <place> <time>|<time> we were <place>} {when|and} <who> {[adverb] |}<past> <thing>.",
    ),
    "where": (
        "{This|It|That|All of it|The whole thing} {happened|took place|was} <place>{|, in front of [number] people|, with [name] watching|, before my eyes|, and [weather]}.",
        "We were <place> {at that moment|when it happened|together then}{|, talking about [hobby]|, after some [food]|, waiting for [name]}.",
        "I was <place> {when it happened|at that point}{|, holding some [food]|, minding my own business|, waiting for [name]}.",
        "I was <place> and {saw|witnessed|watched} {everything|it all|the whole thing|every bit of it}{| with my own eyes|, and so did [name]|, next to [name]|, too slow to move}.",
        "<place>, {of all places|if you can believe that|in case that matters|with [name] watching|while [weather]}.",
    ),
    "when": (
        "{This|It|That|All of it|The whole thing} {happened|took place|was} <time>{|, and it is still on my mind|, while [weather]|, right after [show]|, and nobody has said a word}.",
        "<time>, {to be exact|that is when it happened|that was the day|if you want to know when}.",
        "{I found out|I learned of it|It came to light|I saw it} <time>{|, quite by chance|, when [name] called|, as I was [chore]|, half asleep}.",
    ),
    "where_when": (
        "{This|It|That|All of it} {happened|took place|was} <place> <time>{|, with [name] right there|, while [weather]|, in front of everyone}.",
        "<time> we were <place> {when it happened|and I saw it happen|and [name] can confirm it|together, the [number] of us}.",
        "We were <place>{|, having [food]|, talking about [hobby]|, along with [name]}. {It|This} was <time>{|, after a long day|, and [weather]}.",
        "I was <place> <time>, {so I know|and that is how I found out|when it came out|half asleep|on my way to [hobby]}.",
    ),
    "aside": (
        "<who2> {was|is} {no help|busy with [hobby]|staying with us for now|glued to [show]|the only one who listens}.",
        "<who2> {just|only} {offered me [food]|talked about [hobby]|shrugged|made tea|changed the channel to [show]}.",
        "{Meanwhile|On top of that|Also|Besides}, {I still have to|I need to} {fix|replace|clean|pay off|find} <thing2>, {which is another matter|but that is a different headache|not that it matters here}.",
        "{I also|And I} {worry about|keep thinking of|have to deal with} <thing2>, {but never mind|so there is that|and life goes on}.",
        "I {sit|walk around|spend an hour} <place2> {on Sundays|to clear my head|when I can}, {and it helps|usually with [name]|with or without company}.",
        "{We had|I had} {such a good time|fun|a quiet hour} <place2> {earlier|before all this|just before}, {sharing [food]|thanks to <who2>|talking about [city]}.",
        "Life was {so much easier|better|rougher} <time2>, {when <who2> was around|back when <who2> was here|before <who2> left}.",
        "{I took up|I started} [hobby] <time2>, {mostly to relax|which keeps me sane|on the advice of <who2>}.",
        "{I|We} even had {some|plenty of} spare [food]{| from <who2>| thanks to <who2>}, {not that anybody was hungry|which nobody touched|by the way}.",
        "[name], {a(n) [job] from [city]|who is into [hobby]|who is [trait]|an old friend}, {had just come by|was visiting|called me} about <thing2>.",
        "{Right now|As I write this} <who2> is [chore]{| downstairs| next door| and humming}.",
    ),
    "advice": (
        "<who2> {says|thinks|tells me|insists|swears|is convinced} {I should|I ought to|I must} <question2>{|, but I am not so sure|, which seems extreme|, as if it were that easy|, but they always say that}.",
        "{According to|If you ask} <who2>, {I should|the thing to do is to|I have to} <question2>{|, no discussion|, end of debate|, and soon}.",
        "<who2> {would|would simply|would never hesitate to} <question2>, {but I am not like that|but that is not me|being so [trait]}.",
        "{Someone|[name]|A friend} {said|suggested} I should <question2>, {while|and} <who2> {just laughed|says to calm down|has no opinion|stays out of it}.",
    ),
    "ask_should": (
        "should I <question>{|, or am I overreacting|, or would that be too much|, or is there a better way|, honestly}?",
        "{do you think|would you say} I should <question>?",
        "{is it|would it be} {wrong|fair|too much|petty|reasonable|crazy} to <question>?",
        "{is it time|do I have a right|would it help} to <question>?",
        "{would you|would anyone here|in my place, would you} <question>?",
    ),
    "ask_how": (
        "how do I <question>{| without a fight| without making things worse| at this point|, if at all}?",
        "how {would|could|can} {you|one|anyone} <question> {in a case like this|after this|here}?",
        "what is {the best|a good|the right|a decent} way to <question>?",
        "{any idea|does anyone know} how to <question>{| without drama| gracefully|}?",
    ),
    "ask_first": (
        "{To start with the question|Question up front|First things first|What I need to know|The short question}: [q]",
        "[q] {Let me explain|Here is why I ask|Some context|A little context|I ask because of what follows}.",
        "[q]",
    ),
    "feel_first": (
        "I {feel|am} {[very] |}<feeling> {as I write this|today|right now|these days|and cannot hide it|and need to tell someone}.",
        "{Fair warning|To be clear|Just so you know|Up front|For the record}: I {feel|am} {[very] |}<feeling>.",
        "{Never have I felt so|I have not felt this} <feeling> in {years|months|ages|a long time}.",
    ),
    "feel": (
        "I {feel|am} {[very] |}<feeling>{| about {it|this|all this|the whole thing}| every time I think of it| and it shows| more than anything}.",
        "{It|This|The whole thing|All of this} {makes|made} me feel {[very] |}<feeling>.",
        "{It|This|The whole thing|All of this} {left|has left} me <feeling>{| and tossing at night| for days| and unable to focus|}.",
    ),
}

REGISTERS = {
    "casual": {
        "opener": (
            "{So|Okay|OK so|Hey all|Hi folks}, {this is|here is|I have got} {kind of a mess|a weird one|a bit of drama|a silly one|a long one, sorry}.",
            "{Throwaway|New here|Using a throwaway|On my phone}, {sorry for the typos|so bear with me|because people I know read this|go easy on me}.",
            "{Need|Could use|Looking for} {some advice|a reality check|outside opinions|a sanity check}{ here| on this one| please|}.",
            "{Ugh|Well|Yeah|So yeah|Man}, {what a week|here goes|where do I start|I am back again}.",
        ),
        "lead": ("so", "basically,", "so yeah,", "long story short,", "turns out", "anyway,", "get this:", "okay so", "guess what,", "I kid you not,"),
        "adverb": ("just", "totally", "kind of just", "straight up", "literally", "somehow", "up and"),
        "subject": ("The deal", "The drama", "My thing", "The short version", "What is bugging me"),
        "very": ("kinda", "super", "pretty", "so", "really", "low-key"),
        "feeling": ("[feel]", "{Not gonna lie|Honestly|Tbh}, I {feel|am} {[very] |}<feeling>{| right now| about it}.", "{Kinda|Pretty|Super} <feeling>{, to be honest|, not gonna lie| right now|, I guess}."),
        "ask": ("{So|Like|So yeah|Anyway}, [q]", "{Be honest|Real talk|Serious question}: [q]", "[q] {Thanks|Cheers|Appreciate it}{| all| in advance}."),
        "closer": (
            "{Thanks|Cheers}{| for reading| for listening to me ramble| and sorry for the wall of text}!",
            "{Anyway|Yeah}, {that is it|that is the tea|rant over|back to [show]|off to make [food]}.",
            "{No clue|No idea} {what to do|how this got so weird}{| lol| haha|}.",
        ),
    },
    "plain": {
        "opener": (
            "I {would like|could use|need} {some advice|an outside view|other opinions} {about|on} {something that happened|a problem I have|this situation}.",
            "{This|The following} is {a small matter|not a big tragedy|something I keep thinking about}, but {it bothers me|I want to get it right|I cannot let go}.",
            "{Some|A little|First some} background{| first|}: I am [age]{| and work as a(n) [job]| and live in [city]| and usually easy going}.",
            "I {do not|never} {post|write} here {often|much}, {but I am unsure what to do|so please be kind|but I have nobody to ask}.",
        ),
        "lead": ("what happened is that", "I found out that", "it turns out that", "the problem is that", "in short,", "I learned that", "the thing is that", "as it happened,"),
        "adverb": ("apparently", "simply", "suddenly", "somehow", "then", "just"),
        "subject": ("The problem", "The issue", "My problem", "The main thing", "The reason I write"),
        "very": ("very", "rather", "really", "quite"),
        "feeling": ("[feel]", "[feel]", "{Since then|Ever since} I {feel|have felt} <feeling>."),
        "ask": ("{So|Now|My question is}: [q]", "{What I want to know is this|Here is my question|I would like to know}: [q]", "[q]"),
        "closer": (
            "{Any|All} {advice|thoughts|ideas} {would help|is welcome|are appreciated}.",
            "I {want to|hope to} {do the right thing|settle this soon|hear from people who have been there}.",
            "{Thank you|Thanks} for {reading|your time|any help}.",
        ),
    },
    "formal": {
        "opener": (
            "{Good evening|Hello|Dear readers|Greetings}, I {am seeking|would appreciate|hope for} {your counsel|an impartial opinion|some guidance} {in a delicate matter|regarding a dispute|on a question of conduct}.",
            "I {shall|will} {try to|attempt to} {describe|present|set out} {the facts|the matter|events} {as neutrally as possible|briefly|in order}.",
            "For context, I am {a(n) [job]|[age] years of age|a resident of [city]} and {value|prefer} {courtesy|order|good relations|clear agreements}.",
            "{Please forgive|I apologize for} {the length|the formality|any lack of detail}; {the matter is of some importance to me|I wish to be accurate|English is not my first language}.",
        ),
        "lead": ("I must report that", "it has emerged that", "regrettably,", "to summarize,", "it appears that", "I regret to say that", "I was informed that", "the facts are as follows:"),
        "adverb": ("evidently", "knowingly", "unexpectedly", "regrettably", "promptly"),
        "subject": ("The matter at hand", "The cause of my concern", "The dispute", "The subject of this message"),
        "very": ("rather", "deeply", "most", "quite", "profoundly"),
        "feeling": ("I {must admit|confess|have to say} that I {feel|am} {[very] |}<feeling>{| as a result| in view of all this| about the matter}.", "{As a consequence|Consequently|Understandably}, I {feel|am} {[very] |}<feeling>.", "[feel]"),
        "ask": ("{May I ask|I therefore ask|My question is as follows|I would be grateful for an opinion}: [q]", "{In your judgment|In your view|With due respect to all sides}, [q]", "[q]"),
        "closer": (
            "{Thank you|Many thanks|I am grateful} {in advance|for your consideration|for any considered reply}.",
            "I {would prefer|hope|wish} to {resolve this|settle the matter|proceed} {amicably|with dignity|without further dispute|before the month is out}.",
            "{Kind regards|Respectfully yours|With best wishes}{| from [city]|, a longtime reader}.",
        ),
    },
    "anxious": {
        "opener": (
            "{I am shaking|My hands are shaking|I cannot sleep|My stomach is in knots}{ as I type this| while writing this| again|}, {please help|please be gentle|I hope this makes sense|so forgive the rambling}.",
            "{Please|Oh gosh, please} {tell me|help me figure out} {whether I am crazy|what is going on|if this is normal|how bad this is}.",
            "I {keep|cannot stop} {replaying|going over|thinking through} {everything|all of it|the details} {in my head|at night|over and over}.",
            "{What if|I am afraid that} {I am the problem|everyone blames me|this gets worse|I make it worse}{|, I have been pacing for hours|, and I have no one to talk to}?",
        ),
        "lead": ("oh no,", "I just found out that", "I think", "I am pretty sure that", "I was told that", "please do not judge me, but", "I still cannot believe that", "it looks like"),
        "adverb": ("suddenly", "maybe even deliberately", "apparently", "somehow", "actually"),
        "subject": ("What keeps me awake", "The thing I dread", "What I keep circling back to", "The reason I cannot sleep"),
        "very": ("so", "terribly", "really", "incredibly", "awfully"),
        "feeling": ("[feel]", "I {feel|am} so <feeling> {that I cannot eat|that I cried {twice|all night}|I could scream|it is hard to breathe}.", "{All day|Since then|Every minute} I {feel|have felt} {[very] |}<feeling>{| and my heart races| and I hate it|}."),
        "ask": ("{Please|I do not know any more|I just want to know}, [q]", "{What do I even do|What now|I keep asking myself}: [q]", "[q] {Please answer|I need to know|Anything helps}{| soon| quickly|}."),
        "closer": (
            "{Sorry|I am sorry} {if this is silly|for rambling|for the long post|if I sound dramatic}.",
            "I {do not want|cannot bear|dread} {another fight|to lose people|a scene}{| on top of everything|}.",
            "{Please|I beg you}, {no mean comments|be honest|tell me it will be fine}.",
        ),
    },
    "angry": {
        "opener": (
            "{I have had it|Enough is enough|That is it|I am done}{ with people| with being polite|, I swear|}{|, I need to vent|, and I mean it this time}.",
            "{Can you believe this|Who does that|Am I the only sane person left|Unbelievable}{|, seriously}!",
            "{I am typing this|I write this} {through my teeth|with my fists clenched|before I do something dumb|instead of yelling}.",
            "{Some people|Certain people} {have no shame|think rules are for others|should live alone on an island}{|, I tell you|, period}.",
        ),
        "lead": ("can you believe it,", "I could not believe my eyes:", "listen to this:", "for crying out loud,", "the nerve:", "you will not believe this, but", "yes, you read that right:"),
        "adverb": ("shamelessly", "deliberately", "casually", "just", "flat out", "actually", "brazenly"),
        "subject": ("What set me off", "My rage", "The outrage of the week", "The final straw", "What makes my blood boil"),
        "very": ("absolutely", "beyond", "so damn", "completely", "so"),
        "feeling": ("I {feel|am} {absolutely|completely|so} <feeling>{|, and rightly so|, period|, do not tell me to relax}.", "[feel]", "{Of course|Damn right|You bet} I {feel|am} <feeling>{|, who would not be|, and I will not hide it}!"),
        "ask": ("{Seriously|So tell me|Come on, people|Give it to me straight}, [q]", "[q] {Because I am this close|I am out of patience|Talk me down}.", "{Last question before I explode|Just tell me}: [q]"),
        "closer": (
            "{I am so done|I have no patience left|Never again|Unreal}{|, I swear|, full stop}!",
            "{And no|No}, {I will not calm down|I am not the unreasonable one|an emoji is not an answer}.",
            "{Someone|Somebody} {hold me back|hand me some [food]|talk some sense into them} {before|or} {I snap|I say something stupid|it gets loud}.",
        ),
    },
    "wry": {
        "opener": (
            "{Gather round|Pull up a chair|Grab some popcorn|Welcome}, {dear internet|friends|people of the internet}, {for|to} {another episode of my life|a tale of woe|today's little tragedy|a comedy in one act}.",
            "{In today's news|In other news|Breaking news}: {my life is a sitcom|karma is on holiday|I attract chaos|nothing is sacred}.",
            "I {used to think|was told|once believed} {being an adult is fun|people are basically good|my luck would turn at [age]}{|, ha|, bless me}.",
            "{File this under|Put this one under|This belongs under} {things I did not need|lessons in human nature|small disasters|first world problems}.",
        ),
        "lead": ("plot twist:", "in a bold move,", "picture this:", "as fate would have it,", "in an exciting new chapter,", "you guessed it,", "surprise:", "for reasons unknown to science,"),
        "adverb": ("bravely", "graciously", "magically", "helpfully", "once more", "heroically"),
        "subject": ("The hero of this tale", "Tonight's entertainment", "The plot, such as it is,", "The highlight of my month"),
        "very": ("mildly", "ever so slightly", "a touch", "delightfully", "thoroughly"),
        "feeling": ("I {feel|am}, {shockingly|oddly enough|believe it or not|surprise surprise|to put it politely}, <feeling>.", "{Call me old fashioned|Call me picky|This may shock you}, but I {feel|am} {[very] |}<feeling>.", "[feel]"),
        "ask": ("{So, wise strangers|Oh great council|Jury of the internet|Asking for myself}: [q]", "{The million dollar question|Which leaves one small question|Today's quiz}: [q]", "[q] {Answers on a postcard|Wrong answers welcome too|Asking for a friend, who is me}."),
        "closer": (
            "{Anyway|In any case}, {how was your week|there is always [food]|at least I have [hobby]|tune in next time}.",
            "{I would laugh|It would be funny}, if {it were someone else|I had not seen the bill|it were on [show]}.",
            "{Send help|Send [food]|Thoughts and prayers to me}{|, or at least a meme|, preferably today|, no refunds}.",
        ),
    },
}

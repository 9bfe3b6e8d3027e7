"""What the other person did. Each wording is past/participle/gerund; wordings of one value are separated by `|`."""

EVENTS = """
broke/broken/breaking | smashed/smashed/smashing
cracked/cracked/cracking
dropped/dropped/dropping | knocked over/knocked over/knocking over
stepped on/stepped on/stepping on
sat on/sat on/sitting on
spilled coffee on/spilled coffee on/spilling coffee on
spilled wine on/spilled wine on/spilling wine on
ruined/ruined/ruining | wrecked/wrecked/wrecking
stained/stained/staining
ripped/ripped/ripping
shrank/shrunk/shrinking
scratched/scratched/scratching | scraped/scraped/scraping
dented/dented/denting
backed into/backed into/backing into | drove into/driven into/driving into
totaled/totaled/totaling
burned/burned/burning | scorched/scorched/scorching
flooded/flooded/flooding
stole/stolen/stealing | swiped/swiped/swiping
secretly borrowed/secretly borrowed/secretly borrowing
sold/sold/selling | pawned/pawned/pawning
gave away/given away/giving away | donated/donated/donating
threw away/thrown away/throwing away | threw out/thrown out/throwing out
lost/lost/losing | misplaced/misplaced/misplacing
kept using/kept using/constantly using
used up/used up/using up
ate/eaten/eating | devoured/devoured/devouring
finished off/finished off/finishing off
told everyone about/told everyone about/telling everyone about | blabbed about/blabbed about/blabbing about
posted about/posted about/posting about
made fun of/made fun of/making fun of | mocked/mocked/mocking
gossiped about/gossiped about/gossiping about
joked about/joked about/joking about
announced/announced/announcing
lied about/lied about/lying about
covered up/covered up/covering up | kept quiet about/kept quiet about/keeping quiet about
forgot about/forgotten about/forgetting about
missed/missed/missing
skipped/skipped/skipping | never showed up for/never shown up for/never showing up for
slept through/slept through/sleeping through
ignored/ignored/ignoring | brushed off/brushed off/brushing off
showed up late to/shown up late to/showing up late to | arrived late to/arrived late to/arriving late to
left early from/left early from/leaving early from
got drunk at/gotten drunk at/getting drunk at
canceled/canceled/canceling | called off/called off/calling off
backed out of/backed out of/backing out of | bailed on/bailed on/bailing on
postponed/postponed/postponing | put off/put off/putting off
double booked/double booked/double booking
mixed up/mixed up/mixing up
took credit for/taken credit for/taking credit for | claimed/claimed/claiming
deleted/deleted/deleting | erased/erased/erasing
rewrote/rewritten/rewriting
criticized/criticized/criticizing | picked apart/picked apart/picking apart
rejected/rejected/rejecting | turned down/turned down/turning down
messed up/messed up/messing up | botched/botched/botching
delayed/delayed/delaying | held up/held up/holding up
copied/copied/copying | plagiarized/plagiarized/plagiarizing
leaked/leaked/leaking
refused to fix/refused to fix/refusing to fix | would not repair/not repaired/not repairing
refused to return/refused to return/refusing to return
refused to pay/refused to pay/refusing to pay
refused to sign/refused to sign/refusing to sign
refused to share/refused to share/refusing to share
refused to refund/refused to refund/refusing to refund
overcharged me for/overcharged me for/overcharging me for
raised/raised/raising | hiked up/hiked up/hiking up
demanded/demanded/demanding
held back/held back/holding back
complained about/complained about/complaining about
objected to/objected to/objecting to
took over/taken over/taking over | hogged/hogged/hogging
blocked/blocked/blocking
painted over/painted over/painting over
cut down/cut down/cutting down | chopped down/chopped down/chopping down
dug up/dug up/digging up
trampled/trampled/trampling
unplugged/unplugged/unplugging
shut off/shut off/shutting off
rearranged/rearranged/rearranging
gambled away/gambled away/gambling away
blew/blown/blowing | squandered/squandered/squandering
dipped into/dipped into/dipping into
emptied/emptied/emptying
snooped through/snooped through/snooping through | rummaged through/rummaged through/rummaging through
sneered at/sneered at/sneering at
let out/let out/letting out
yelled at/yelled at/yelling at
shaved/shaved/shaving
neglected/neglected/neglecting
overfed/overfed/overfeeding
frightened/frightened/frightening
left behind/left behind/leaving behind
rehomed/rehomed/rehoming
"""

"""What the writer asks, as a bare verb phrase. One line is one value; its wordings are separated by `|`.

SHOULD fits "should I ...", HOW fits "how do I ...".
"""

SHOULD = """
ask them to pay | make them pay
send them the bill | send them an invoice
ask for a replacement | demand a replacement
let it go | let this one slide
confront them | have it out with them
ask for an apology | demand an apology
call the police | file a police report
go to HR | report this to HR
go over their head | take this higher up
quit | hand in my notice
look for another job
move out | find a new place to live
end the friendship | cut them off
break up with them | end the relationship
forgive them
give them another chance
take them to small claims court | sue them
sit down and talk with them | talk it out with them
write them a letter
put everything in writing
wait a little longer | give it more time
ask for my money back | demand my money back
get even | get revenge
stop lending them things
try to trust them again
stay away for a while | keep my distance
change the locks
hire someone else
ask for a refund | insist on a refund
leave a bad review
file a complaint | make a formal complaint
ask for an extension
drop the class
switch groups
do the work alone
withhold payment
call the city inspector
travel alone next time
ask for a discount
tell my parents
tell the rest of the family
tell everyone the truth
keep it to myself | keep my mouth shut
set some ground rules | set a firm boundary
see a counselor
take them off the guest list | uninvite them
put a lock on my door
buy my own fridge
split everything evenly
set up a payment plan
charge them interest
close the account
talk to a lawyer | hire a lawyer
ask a friend to mediate
leave the group
take some time off
get a second opinion
switch to another clinic
report them to the authorities
keep them away from my pets
stop inviting them | stop including them
go without them
"""

HOW = """
bring this up | raise the subject
fix things between us | patch things up
explain my side
prove it was them
make it stop | put a stop to this
get over this | move past this
respond to this
say no next time
keep this from happening again
make them understand
get them to listen
save the friendship
keep the peace
"""

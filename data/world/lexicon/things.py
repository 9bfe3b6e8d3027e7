"""What it was done to. One line is one value; the wordings of a value are separated by `|`."""

THINGS = """
my laptop | my computer
my phone
my camera
my tablet
my glasses
my headphones
my monitor
my keyboard
my game console
my television
my record player
my guitar
my violin
my piano
my drums
my watch
my necklace
my earrings
my bracelet
my grandmother's ring | my heirloom ring
my diamond ring
my wallet
my purse | my handbag
my backpack
my suitcase | my luggage
my passport
my umbrella
my jacket | my coat
my sweater
my suit
my bridal gown
my boots
my sneakers
my favorite shirt
my uniform
my costume
my scarf
my quilt
my couch | my sofa
my rug
my mattress
my armchair
my curtains
my bookshelf
my coffee table
my desk
my lamp
my mirror
my vase
my favorite mug
my teapot
my blender
my coffee maker
my cast iron pan
my good knives
my dishes
my microwave
my washing machine
my toolbox
my power drill
my lawn mower | my mower
my ladder
my grill
my tent
my sleeping bag
my skateboard
my surfboard
my snowboard
my tennis racket
my bike | my bicycle
my car
my truck
my scooter
my motorcycle
my kayak
my leftovers
my carrot cake
my groceries
my lunch
my cookies
my frozen pizza
my soup
my expensive cheese
my chocolate
my coffee beans
my protein powder
my shampoo
my spare keys
my mail
my package | my parcel
my houseplants
my tomato plants
my rose bushes
my vegetable garden
my apple tree
my hedge
my fence
my mailbox
my driveway
my parking spot | my parking space
my garden gnome
my bird feeder
my doormat
my pregnancy
my divorce
my diagnosis
my breakup
my salary
my student loans
my job search
my engagement
my surgery
my therapy
my weight
my accent
my religion
my cooking
my poetry
my paintings
my photographs | my photos
my diary | my journal
my text messages
my emails
my birthday
our anniversary
my graduation
my recital
my art show
my promotion
my housewarming
my baby shower
our wedding
our dinner reservation
my surprise party
our road trip
our vacation
our flight
our suite
our rail tickets
our hiking trip
our honeymoon
our camping trip
our weekend getaway
our movie night
my quarterly report
my presentation
my spreadsheet
my proposal
my budget
my design
my code
my business idea
my time-off request
my sick leave
my pay raise
my overtime
my shift
my office chair
my paycheck | my wages
my reference letter
my contract
my expense claim
my research
my essay
my thesis
my lab notes
our group project
my lecture notes
my textbook | my course book
my final exam
my homework
my scholarship application
my calculator
my study guide
our security deposit
the rent
the electric bill
the water bill
the heater | the radiator
the leaky faucet
the wifi
our lease
the internet bill
our savings
my inheritance
my college fund
my emergency fund
my credit card
my tax refund
our down payment
the loan
the vet bill
the dinner bill
my dog
my cat
my puppy
my kitten
my parrot
my rabbit
my hamster
my goldfish
my turtle
my horse
my dog's leash
my cat's medicine
my fish tank
my chickens
my dog's vaccination records
my nursery plans
my family recipe
my baby name
my childhood bedroom
my comic collection
my stamp collection
my vinyl records
my trophies
my sewing machine
my telescope
my board game
my window seat
my travel itinerary
my souvenirs
my playlist
our apartment
our fantasy league
our band's demo
my old letters
my haircut
my mother's recipe box
my swimsuit
their age
their real name
their debts
their drinking
their gambling
their smoking
their criminal record
their first marriage
their diet
their work hours
their old flame
the broken window
my stroller
"""

"""The other person in the story. One line is one value; the wordings of a value are separated by `|`."""

WHO = """
my roommate | my flatmate
my housemate
our landlord
our landlady
my subletter
our superintendent
our handyman
my neighbor
my neighbor's kid
the woman downstairs | the lady downstairs
the man upstairs | the guy upstairs
our homeowners association | our HOA
my boss | my manager
my supervisor
my coworker | my colleague
our intern
my assistant
my client | my customer
our receptionist
our recruiter
my team lead
our accountant
my business partner
our contractor
our plumber
my mechanic
our moving company
my financial advisor
my sister
my brother
my mother | my mom
my father | my dad
my stepmother | my stepmom
my stepfather | my stepdad
my aunt
my uncle
my cousin
my grandmother | my grandma
my grandfather | my grandpa
my mother-in-law
my father-in-law
my sister-in-law
my brother-in-law
my nephew
my niece
my son
my daughter
our babysitter | our nanny
my boyfriend
my girlfriend
my husband
my wife
my fiance
my ex
my prom date
my crush
my best friend | my closest friend
my childhood friend
my running buddy
my bandmate
my teammate
my book club
my bridesmaid
my best man
my teacher
my professor
my thesis advisor
my tutor
my classmate
my lab partner
my study group
my coach
the principal
the librarian
our tour guide
my travel companion
our host
our driver
the concierge
the airline
the guy in the next seat
our travel agent
our dog walker
my pet sitter | my cat sitter
our vet
our groomer
our dog trainer
the breeder
my credit union
my insurance company
my barber | my hairdresser
our cleaner | our cleaning lady
"""

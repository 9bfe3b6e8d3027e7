"""Where it happened. One line is one value; the wordings of a value are separated by `|`."""

PLACES = """
in the library
at the office
in the break room
in the parking garage
in the conference room
in the lobby
in the elevator
in the stairwell
in the warehouse
in the copy room
in the waiting room
at the company picnic
at a trade fair
at the holiday party
in the cafeteria
in our kitchen
in the living room
in the bathroom
in the hallway
in the laundry room
in the basement
in the attic
on the balcony
on the porch
in the backyard
on the front lawn
on the roof
on the sidewalk
at the gym
at the pool
at the beach
at the lake
in the woods
at the dog park
at the farmers market
at the grocery store | at the supermarket
at the mall
at a coffee shop | at a cafe
at a restaurant
at a sushi place
at a pizzeria
at a steakhouse
at the pub
at a karaoke night
at a brewery
at a nightclub
at the movie theater | at the cinema
at a music festival
at the bowling alley
at the museum
at the zoo
at church
at the cemetery
at the hospital
at the clinic
at the animal shelter
at the kennel
at the barn
at the pet store
in the classroom
in the lecture hall
in the computer lab
in the chemistry lab
in the dorm
in the dining hall
on the school bus
on the football field
in the locker room
on campus
at the airport
at the train station
on the plane
on the ferry
on the subway | on the metro
in a taxi | in a cab
at the hotel
at the hostel
at the campground
at a rest stop
at a gas station
at the border
on the highway
on a cruise
at a ski resort
at the bank
at the courthouse
at the repair shop
at the dealership
at the casino
in my hometown
at my parents' house
at a family reunion
at the dinner table
at a funeral
at a barbecue | at a cookout
at a bridal shop
at the flea market
at the community center
at the playground
at a yard sale
at the recycling bins
on a video call
in the group chat
on social media
"""

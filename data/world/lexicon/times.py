"""When it happened. One line is one value; the wordings of a value are separated by `|`."""

TIMES = """
yesterday
this morning
last night
earlier today
last Monday
last Tuesday
last Wednesday
last Thursday
last Friday
last Saturday
last Sunday
on Monday morning
on Tuesday afternoon
on Wednesday evening
on Thursday afternoon
on Friday night
on Saturday morning
on Sunday evening
two days ago
three days ago
four days ago
five days ago
a week ago
two weeks ago
three weeks ago
a month ago
two months ago
three months ago
last weekend | over the weekend
last week
last month
last spring
last summer
last fall
last winter
in January
in February
in March
in April
in May
in June
in July
in August
in September
in October
in November
in December
on Christmas Eve
on New Year's Eve
on Thanksgiving
on Halloween
on Valentine's Day
on Mother's Day
on the Fourth of July
on Memorial Day
over spring break
during finals week
around midnight
around noon
at six in the morning
"""

"""A model that was right in the first half of 2013, and what drift checks say of it in the second.

rows      flights that left New York, with what is known before departure: schedule, carrier, plane, weather
label     whether a flight came more than half an hour late, or not at all, which turns out after it was asked for
request   all flights of one hour, so that two weeks pass in seconds, in their order
"""

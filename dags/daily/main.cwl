cwlVersion: v1.2
class: Workflow
label: Temperatures of a day
doc: |
  Takes the readings of one day out of a month's file, and compares them with those of the days before.

inputs:
  readings:
    type: File
    label: Readings
    doc: "A line for each reading: date, time, degrees Celsius (CSV)."
  day:
    type: string
    label: Day
    doc: A date (YYYY-MM-DD).
  days:
    type: int
    label: Number of days
    doc: How many days, this one included, the mean is of.

steps:
  select:
    label: Take the readings of the day
    run: select.cwl
    in:
      readings: readings
      day: day
    out: [selected]
  summarise:
    label: Compare with the days before
    run: summarise.cwl
    in:
      readings: readings
      selected: select/selected
      day: day
      days: days
    out: [summary]

outputs:
  selected:
    type: File
    label: Readings of the day
    outputSource: select/selected
  summary:
    type: File
    label: Summary
    doc: Lowest and highest temperature of the day, and the mean of the days up to it (Markdown).
    outputSource: summarise/summary

# Lowest and highest of the first file's readings, and the mean of the second file's on the last `days` days up to `day`.
BEGIN { FS = "," }
NR == FNR {
    if (FNR == 1 || $3 + 0 < low) low = $3 + 0
    if (FNR == 1 || $3 + 0 > high) high = $3 + 0
    next
}
$1 <= day {
    if ($1 != last) { last = $1; number++ }
    sum[number] += $3; count[number]++
}
END {
    for (i = (number > days ? number - days + 1 : 1); i <= number; i++) { total += sum[i]; readings += count[i] }
    printf "# %s\n\n| lowest | highest | mean of %d days |\n|---:|---:|---:|\n", day, days
    printf "| %.1f | %.1f | %.2f |\n", low, high, total / readings
}

package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// durations reads "1s,100ms" into a flag's value.
func durations(name, text string, out *[]time.Duration) error {
	return list(name, text, out, time.ParseDuration)
}

// numbers reads "1,16" into a flag's value.
func numbers(name, text string, out *[]int) error { return list(name, text, out, strconv.Atoi) }

// joinNumbers is the inverse of numbers.
func joinNumbers(values []int) string {
	return strings.Trim(strings.Join(strings.Fields(fmt.Sprint(values)), ","), "[]")
}

func list[T int | time.Duration](name, text string, out *[]T, parse func(string) (T, error)) error {
	for word := range strings.SplitSeq(text, ",") {
		v, err := parse(word)
		if err != nil {
			return fmt.Errorf("-%s: %w", name, err)
		}
		if v <= 0 {
			return fmt.Errorf("-%s: %s is not above zero", name, word)
		}
		*out = append(*out, v)
	}
	return nil
}

// number is what a distribution is made of.
type number interface{ ~int | ~int64 }

// quantile is the smallest value that a share q of all is not above (nearest
// rank): the 99th percentile of 20 values is the largest. Of none it is zero.
func quantile[T number](values []T, q float64) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(q * float64(len(sorted)))
	if float64(rank) == q*float64(len(sorted)) && rank > 0 {
		rank-- // exactly at the end of a rank
	}
	return sorted[min(rank, len(sorted)-1)]
}

func median[T number](values []T) T  { return quantile(values, 0.5) }
func largest[T number](values []T) T { return quantile(values, 1) }

// milliseconds writes a duration so that those of a column can be compared.
func milliseconds(d time.Duration) string {
	ms := float64(d.Nanoseconds()) / 1e6
	switch {
	case ms >= 1000:
		return fmt.Sprintf("%.0f ms", ms)
	case ms >= 10:
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.2f ms", ms)
}

// ratio is ours to theirs, or a dash where theirs is nothing.
func ratio[T number](ours, theirs T) string {
	if theirs == 0 {
		return dash
	}
	return fmt.Sprintf("%.3f", float64(ours)/float64(theirs))
}

const dash = "–"

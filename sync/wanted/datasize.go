package wanted

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

var dataSize = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]*)`)

// dataUnits gives the sizes in bytes of git-annex's units (Utility/DataUnits.hs), in lower case. "kb" is 1000 and "kib" is 1024.
var dataUnits = func() map[string]float64 {
	units := map[string]float64{"": 1, "b": 1, "bb": 1, "byte": 1, "bytes": 1}
	for i, prefix := range []struct{ short, decimal, binary string }{
		{"k", "kilo", "kibi"},
		{"m", "mega", "mebi"},
		{"g", "giga", "gibi"},
		{"t", "tera", "tebi"},
		{"p", "peta", "pebi"},
		{"e", "exa", "exbi"},
		{"z", "zetta", "zebi"},
		{"y", "yotta", "yobi"},
	} {
		for _, unit := range []struct {
			abbreviation, name string
			size               float64
		}{
			{prefix.short + "b", prefix.decimal + "byte", math.Pow(1000, float64(i+1))},
			{prefix.short + "ib", prefix.binary + "byte", math.Pow(1024, float64(i+1))},
			{prefix.short + "bit", prefix.decimal + "bit", math.Pow(1000, float64(i+1)) / 8},
		} {
			for _, spelling := range []string{unit.abbreviation, unit.abbreviation + "b", unit.name, unit.name + "s"} {
				units[spelling] = unit.size
			}
		}
	}
	return units
}()

// ParseSize reads a size such as "100kb" or "1.5 GiB", in bytes.
func ParseSize(s string) (int64, error) {
	found := dataSize.FindStringSubmatch(strings.TrimSpace(s))
	if found == nil {
		return 0, fmt.Errorf("%q is not a size", s)
	}
	number, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a size", s)
	}
	unit, ok := dataUnits[strings.ToLower(found[2])]
	if !ok {
		return 0, fmt.Errorf("%q is not a unit of size", found[2])
	}
	size := math.RoundToEven(number * unit)
	if size >= math.MaxInt64 {
		return math.MaxInt64, nil
	}
	return int64(size), nil
}

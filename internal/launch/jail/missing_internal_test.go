//go:build linux

package jail

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestMissing: strict isolation demands every state that a record can name, but for
// those of another way to the same end.
func TestMissing(t *testing.T) {
	all := Isolation{Network: "none"}
	v := reflect.ValueOf(&all).Elem()
	states := map[string]reflect.Value{}
	for i := range v.NumField() {
		if v.Field(i).Type() == reflect.TypeFor[State]() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			states[name] = v.Field(i)
			v.Field(i).Set(reflect.ValueOf(Yes))
		}
	}
	if missing := all.Missing(); len(missing) != 0 {
		t.Fatalf("with every fact, %v is missing", missing)
	}
	otherWays := []string{"user_ns", "proc", "sealed_program", "noswap", "locked"}
	for name, state := range states {
		for _, value := range []State{No, "", "refused:EPERM"} {
			state.Set(reflect.ValueOf(value))
			want := []Fact{{name, value}}
			if slices.Contains(otherWays, name) {
				want = nil
			}
			if got := all.Missing(); !slices.Equal(got, want) {
				t.Errorf("%s is %q: %v is missing, want %v", name, value, got, want)
			}
		}
		state.Set(reflect.ValueOf(Yes))
	}
	all.NoSwap, all.Locked = "refused:EINVAL", No
	if got := all.Missing(); !slices.Equal(got, []Fact{{"noswap", "refused:EINVAL"}}) {
		t.Errorf("neither noswap nor locked: %v is missing", got)
	}
	all.NoSwap, all.Network = Yes, "host"
	if got := all.Missing(); !slices.Equal(got, []Fact{{"network", No}}) {
		t.Errorf("with a network: %v is missing", got)
	}
}

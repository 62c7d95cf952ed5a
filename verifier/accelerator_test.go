package verifier

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestAcceleratorsDocumented: the document lists the names that the code knows, and
// no others.
func TestAcceleratorsDocumented(t *testing.T) {
	b, err := os.ReadFile("../docs/SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(b), "### 8.2 Accelerators\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var listed []string
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "- ") {
			for _, word := range regexp.MustCompile("`[^`]*`").FindAllString(line, -1) {
				listed = append(listed, strings.Trim(word, "`"))
			}
		}
	}
	known := acceleratorNames()
	slices.Sort(known)
	slices.Sort(listed)
	if !slices.Equal(known, listed) {
		t.Errorf("the document lists %q, the code %q", listed, known)
	}
}

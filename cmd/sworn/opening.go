package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/verifier"
)

// openingSuffix is what the name of an opening file has after that of its record.
const openingSuffix = ".opening.json"

// readOpening reads an opening file as it is, so that the verifier may refuse it; nil
// for no name. One beyond the limit is read no further than shows it.
func readOpening(name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	f, err := openRegular(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limits.OpeningFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if b == nil {
		b = []byte{} // an empty file is an opening that is none
	}
	return b, nil
}

// unopened reports whether a check lacks nothing but an opening.
func unopened(r *verifier.Report, id string) bool {
	stream := r.Summary.Input
	if id == "output.file" {
		stream = r.Summary.Output
	}
	_, ok := stream.Stated()
	return (id == "input.file" || id == "output.file") && stream != nil && !ok
}

// openedContent returns the bytes of a field that an opening carries, and whether it
// carries them.
func openedContent(o *cer.Opening, field string) ([]byte, bool, error) {
	f := o.Field(field)
	switch {
	case f == nil:
		return nil, false, nil
	case f.Value != nil:
		return []byte(*f.Value), true, nil
	case f.Stream == nil || f.Stream.Content == nil:
		return nil, false, nil
	default:
		return cer.Content(f.Stream.Content)
	}
}

// openFlags are the flags of `sworn open`.
type openFlags struct {
	opening, out, extract string
	fields                []string
	list, content, asJSON bool
}

func (a *app) openCommand() *cobra.Command {
	var f openFlags
	cmd := &cobra.Command{
		Use:   "open [flags] RECORD",
		Short: "Disclose chosen fields of a record that commits to them",
		Long: `A record of "sworn run --disclose commit" commits to its input, output, standard error
and to the value of each parameter, and the opening file beside it has what opens all of
these commitments. This command makes one that opens the fields you choose, to give to
whoever is to see them, and these alone: "sworn verify --opening" holds it against the
record. Fields are input, output, stderr and param:NAME.

The opening has to be right: one that is not the record's, or that was changed, is
refused. Without --field the fields are listed. Whether the record is to be trusted is
another question: sworn verify.

Exit status: 0 done, 1 the opening does not open the record, 2 usage or I/O.`,
		Example: `  sworn open job.cer.json --opening job.cer.json.opening.json --list
  sworn open job.cer.json --opening job.cer.json.opening.json --field output --field param:seed -o output.opening.json
  sworn verify --opening output.opening.json --output answer.txt job.cer.json`,
		Args: oneFile("sworn open RECORD --opening FILE"),
		RunE: func(_ *cobra.Command, args []string) error { return a.open(&f, args[0]) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.opening, "opening", "", "the `FILE` that opens the record (default RECORD.opening.json)")
	fl.StringArrayVar(&f.fields, "field", nil, "disclose this `FIELD` (repeatable): input, output, stderr or param:NAME")
	fl.BoolVar(&f.content, "content", false, "with --field: disclose the bytes of streams too, where the opening has them")
	fl.StringVarP(&f.out, "out", "o", "", "write the new opening to `FILE` (default standard output)")
	fl.StringVar(&f.extract, "extract", "", "write the bytes of one `FIELD` to standard output, where the opening has them")
	fl.BoolVar(&f.list, "list", false, "list the fields, and which of them the opening opens")
	fl.BoolVar(&f.asJSON, "json", false, "list them as one JSON object")
	return cmd
}

// open is `sworn open`.
func (a *app) open(f *openFlags, record string) error {
	if count(f.list || f.asJSON, len(f.fields) > 0, f.extract != "") > 1 {
		return usage("give one of them", "--list, --field and --extract exclude each other")
	}
	if len(f.fields) == 0 && (f.out != "" || f.content) {
		return usage("--field input, output, stderr or param:NAME", "--out and --content want a field to disclose")
	}
	if f.opening == "" {
		f.opening = record + openingSuffix
	}
	if samePath(f.out, record) || samePath(f.out, f.opening) {
		return usage("choose another path for -o", "the new opening would overwrite %s", f.out)
	}
	rt, o, err := readOpened(record, f.opening)
	if err != nil {
		return err
	}
	switch {
	case len(f.fields) > 0:
		return a.disclose(f, rt, o)
	case f.extract != "":
		return a.extractField(f, rt, o)
	default:
		return a.listFields(f, record, rt, o)
	}
}

// readOpened reads a record and an opening, which has to be the record's.
func readOpened(record, opening string) (*cer.Runtime, *cer.Opening, error) {
	file, err := readCapsule(record)
	if err != nil {
		return nil, nil, err
	}
	_, b, err := parseForInspect(file)
	if err != nil {
		if hint := kindHint(record, file, "record"); hint != "" {
			return nil, nil, wrap(err, hint)
		}
		return nil, nil, err
	}
	rt, err := cer.ParseRuntime(b.Snapshot.Runtime)
	if err != nil {
		return nil, nil, wrap(err, "sworn verify --explain "+record)
	}
	if !rt.Committed() {
		return nil, nil, usage("sworn inspect "+record, "the record commits to nothing: its disclosure is %q", rt.Disclosure)
	}
	raw, err := readOpening(opening)
	if err != nil {
		return nil, nil, err
	}
	o, err := cer.ParseOpening(raw)
	if err == nil {
		err = o.Check(b.CertificateHash, rt)
	}
	if err != nil {
		hint := kindHint(opening, raw, "opening")
		if hint == "" {
			hint = "the opening is the file that \"sworn run --disclose commit\" wrote beside this very record"
		}
		return nil, nil, &statusError{code: exitNotTrusted, err: fmt.Errorf("%s: %w", opening, err), hint: hint}
	}
	return rt, o, nil
}

// wantField refuses a field that the record or the opening does not have.
func wantField(rt *cer.Runtime, o *cer.Opening, field string) error {
	fields := rt.CommittedFields()
	if !slices.Contains(fields, field) {
		return usage(hintMeant(nearest(field, fields), "%s", "sworn open --list"), "the record has no field %q", field)
	}
	if o.Field(field) == nil {
		return usage("take the opening that the launch has left", "the opening does not open %q", field)
	}
	return nil
}

// disclose writes an opening of the chosen fields.
func (a *app) disclose(f *openFlags, rt *cer.Runtime, o *cer.Opening) error {
	for _, field := range f.fields {
		if err := wantField(rt, o, field); err != nil {
			return err
		}
	}
	less, err := o.Only(f.fields, f.content)
	if err != nil {
		return err
	}
	b, err := less.Encode()
	if err != nil {
		return err
	}
	if f.out == "" {
		_, err = a.stdout.Write(b)
		return err
	}
	return writeFile(f.out, b, 0o600)
}

// extractField writes the bytes of a field.
func (a *app) extractField(f *openFlags, rt *cer.Runtime, o *cer.Opening) error {
	if err := wantField(rt, o, f.extract); err != nil {
		return err
	}
	content, ok, err := openedContent(o, f.extract)
	if err != nil {
		return err
	}
	if !ok {
		return usage("run the job with --opening-content", "the opening has no bytes of %q, only their hash", f.extract)
	}
	_, err = a.stdout.Write(content)
	return err
}

// listFields lists the record's fields.
func (a *app) listFields(f *openFlags, record string, rt *cer.Runtime, o *cer.Opening) error {
	type field struct {
		Name   string  `json:"name"`
		Opened bool    `json:"opened"`
		Value  *string `json:"value,omitempty"`
		SHA256 string  `json:"sha256,omitempty"`
		Size   string  `json:"size,omitempty"`
		Bytes  bool    `json:"bytes,omitempty"`
	}
	var fields []field
	for _, name := range rt.CommittedFields() {
		x, of := field{Name: name}, o.Field(name)
		if x.Opened = of != nil; x.Opened {
			x.Value = of.Value
			if of.Stream != nil {
				x.SHA256, x.Size, x.Bytes = of.Stream.SHA256, of.Stream.Size, of.Stream.Content != nil
			}
		}
		fields = append(fields, x)
	}
	if f.asJSON {
		enc := json.NewEncoder(verifier.PrintableJSON(a.stdout))
		enc.SetEscapeHTML(false)
		return enc.Encode(struct {
			Record          string  `json:"record"`
			CertificateHash string  `json:"certificateHash"`
			Fields          []field `json:"fields"`
		}{record, o.CertificateHash, fields})
	}
	for _, x := range fields {
		text := "not opened"
		switch {
		case x.Value != nil:
			text = "opened: " + strconv.Quote(*x.Value)
		case x.Opened && x.Bytes:
			text = "opened: " + x.Size + " bytes sha256:" + x.SHA256 + ", carried"
		case x.Opened:
			text = "opened: " + x.Size + " bytes sha256:" + x.SHA256
		}
		if _, err := fmt.Fprintf(a.stdout, "%-16s %s\n", line(x.Name), line(text)); err != nil {
			return err
		}
	}
	return nil
}

// showOpening shows an opening file. What it opens is the reason for it to be.
func showOpening(t *treeWriter, file []byte) error {
	o, err := cer.ParseOpening(file)
	if err != nil {
		return err
	}
	t.head("opening", o.Type+", what a record commits to, and the salts")
	t.row(1, "certificateHash", o.CertificateHash)
	for _, f := range o.Fields {
		if f.Value != nil {
			t.row(1, f.Name, *f.Value)
		} else {
			t.row(1, f.Name, fmt.Sprintf("%s bytes, complete %v, sha256:%s", f.Stream.Size, f.Stream.Complete, f.Stream.SHA256))
			if f.Stream.Content != nil {
				t.row(2, "bytes", "carried (sworn open --extract "+f.Name+")")
			}
		}
		t.row(2, "salt", f.Salt)
	}
	return nil
}

// treeStream says what a record states of a stream.
func treeStream(s *cer.Stream) string {
	if s.Commitment != "" {
		return "committed, " + s.Commitment
	}
	return fmt.Sprintf("%s bytes, complete %v, sha256:%s", s.Size, s.Complete, s.SHA256)
}

// treeParameter says what a record states of a parameter.
func treeParameter(p *cer.Parameter) string {
	how := " (declared)"
	if p.Applied {
		how = " (applied)"
	}
	if p.Commitment != "" {
		return "committed, " + p.Commitment + how
	}
	return p.Value + how
}

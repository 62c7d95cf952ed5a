//go:build js && wasm

package main

import (
	"errors"
	"syscall/js"
	"time"
)

func main() {
	js.Global().Set("swornVerify", js.FuncOf(verify))
	js.Global().Set("swornKinds", js.FuncOf(kinds))
	js.Global().Set("swornSelfTest", js.FuncOf(test))
	if ready := js.Global().Get("swornReady"); ready.Type() == js.TypeFunction {
		ready.Invoke(version)
	}
	select {}
}

// test runs the self-test on {record, policy, now}; it gives what is wrong, or nothing.
func test(_ js.Value, args []js.Value) any {
	in := args[0]
	if err := selfTest(bytesOf(in.Get("record")), bytesOf(in.Get("policy")), clock(in)); err != nil {
		return err.Error()
	}
	return ""
}

// bytesOf copies a Uint8Array.
func bytesOf(v js.Value) []byte {
	b := make([]byte, v.Length())
	js.CopyBytesToGo(b, v)
	return b
}

// clock is the page's time.
func clock(in js.Value) time.Time { return time.UnixMilli(int64(in.Get("now").Float())).UTC() }

// files copies what the page holds: an array of {path, role, data}.
func files(v js.Value) []file {
	out := make([]file, v.Length())
	for i := range out {
		x := v.Index(i)
		out[i] = file{Path: x.Get("path").String(), Role: x.Get("role").String(), Data: bytesOf(x.Get("data"))}
	}
	return out
}

// kinds tells the page what its files are, in their order.
func kinds(_ js.Value, args []js.Value) any {
	var out []any
	for _, f := range files(args[0]) {
		k := f.kind()
		out = append(out, map[string]any{"kind": k.name, "role": k.role})
	}
	return out
}

// verify judges the records among the page's files: {files, nonce, now} gives {html,
// json}, or {error, hint}.
func verify(_ js.Value, args []js.Value) any {
	in := args[0]
	a, err := appraise(&request{
		Files: files(in.Get("files")), Nonce: in.Get("nonce").String(), Now: clock(in),
	})
	if err != nil {
		hint := ""
		var m *mistake
		if errors.As(err, &m) {
			hint = m.hint
		}
		return map[string]any{"error": err.Error(), "hint": hint}
	}
	return map[string]any{"html": string(a.HTML), "json": string(a.JSON), "trusted": a.Trusted, "headline": a.Headline}
}

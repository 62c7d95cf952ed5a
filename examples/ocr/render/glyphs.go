package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// errText is wrapped by every error of this program: a character without a
// glyph, a malformed glyph, a page that does not fit.
var errText = errors.New("cannot draw text")

// point is a position in font units; y grows upwards from the baseline.
type point struct{ x, y int }

// segment is one straight piece of a stroke.
type segment struct{ a, b point }

// glyph is one character: how far the pen advances and what it draws, both in
// font units.
type glyph struct {
	advance  int
	segments []segment
}

// Vertical measures of the font, in font units.
const (
	capHeight = 704 // Top of capitals, digits and ascenders.
	descender = 208 // Depth of g, j, p, q, y below the baseline.
)

// curveSteps is the number of straight pieces that stand for a quarter of an
// ellipse.
const curveSteps = 12

// glyphSource returns the advance and the strokes of c.
//
// A stroke is written as in a plotter's program. "M x y" lifts the pen and
// puts it down at x, y. "L x y" draws a line. "H x y" and "V x y" draw a
// quarter of an ellipse to x, y that leaves horizontally or vertically. A dot
// is a line of no length. The pen is round.
func glyphSource(c rune) (advance int, strokes string, ok bool) {
	switch {
	case c == ' ':
		return 330, "", true
	case c >= '0' && c <= '9':
		return digitSource(c)
	case c >= 'A' && c <= 'M':
		return capitalSourceAM(c)
	case c >= 'N' && c <= 'Z':
		return capitalSourceNZ(c)
	case c >= 'a' && c <= 'm':
		return smallSourceAM(c)
	case c >= 'n' && c <= 'z':
		return smallSourceNZ(c)
	}
	return punctuationSource(c)
}

func punctuationSource(c rune) (advance int, strokes string, ok bool) {
	switch c {
	case '.':
		return 240, "M 112 4 L 128 4 M 112 12 L 128 12", true
	case ',':
		return 240, "M 112 8 L 132 8 M 130 4 L 86 -112", true
	case ':':
		return 260, "M 122 8 L 138 8 M 122 420 L 138 420", true
	case '-':
		return 380, "M 80 256 L 300 256", true
	case '/':
		return 420, "M 60 -60 L 360 740", true
	}
	return 0, "", false
}

func digitSource(c rune) (advance int, strokes string, ok bool) {
	switch c {
	case '0':
		return 560, "M 280 704 H 480 352 V 280 0 H 80 352 V 280 704", true
	case '1':
		return 560, "M 120 560 L 300 704 L 300 0 M 130 0 L 460 0", true
	case '2':
		return 560, "M 90 520 V 280 704 H 464 510 V 400 320 L 90 0 L 480 0", true
	case '3':
		return 560, "M 92 560 V 270 704 H 448 536 V 240 376 M 240 376 H 472 190 V 264 0 H 76 150", true
	case '4':
		return 560, "M 380 0 L 380 704 L 64 200 L 500 200", true
	case '5':
		return 560, "M 448 704 L 132 704 L 108 390 M 108 390 L 150 420 M 150 420 H 476 224 M 150 420 L 270 448 H 476 224 V 260 0 H 80 130", true
	case '6':
		return 560, "M 430 690 H 84 224 M 84 224 V 280 0 H 476 224 V 280 440 H 84 224", true
	case '7':
		return 560, "M 76 704 L 484 704 L 220 0", true
	case '8':
		return 560, "M 280 704 H 452 540 V 280 376 H 108 540 V 280 704 M 280 376 H 480 188 V 280 0 H 80 188 V 280 376", true
	case '9':
		return 560, "M 130 14 H 476 480 M 476 480 V 280 704 H 84 480 V 280 264 H 476 480", true
	}
	return 0, "", false
}

func capitalSourceAM(c rune) (advance int, strokes string, ok bool) {
	switch c {
	case 'A':
		return 640, "M 50 0 L 320 704 L 590 0 M 140 240 L 500 240", true
	case 'B':
		return 620, "M 100 0 L 100 704 L 320 704 H 500 540 V 320 376 L 100 376 M 320 376 H 540 188 V 320 0 L 100 0", true
	case 'C':
		return 660, "M 590 560 V 350 704 H 76 352 V 350 0 H 590 144", true
	case 'D':
		return 680, "M 100 0 L 100 704 L 290 704 H 600 352 V 290 0 L 100 0", true
	case 'E':
		return 580, "M 510 704 L 100 704 L 100 0 L 510 0 M 100 368 L 470 368", true
	case 'F':
		return 550, "M 500 704 L 100 704 L 100 0 M 100 360 L 450 360", true
	case 'G':
		return 700, "M 600 570 V 356 704 H 76 352 V 356 0 H 612 200 L 612 330 L 380 330", true
	case 'H':
		return 700, "M 100 0 L 100 704 M 600 0 L 600 704 M 100 368 L 600 368", true
	case 'I':
		return 240, "M 120 0 L 120 704", true
	case 'J':
		return 520, "M 420 704 L 420 200 V 236 0 H 60 170", true
	case 'K':
		return 630, "M 100 0 L 100 704 M 570 704 L 100 250 M 250 400 L 590 0", true
	case 'L':
		return 540, "M 100 704 L 100 0 L 500 0", true
	case 'M':
		return 800, "M 100 0 L 100 704 L 400 110 L 700 704 L 700 0", true
	}
	return 0, "", false
}

func capitalSourceNZ(c rune) (advance int, strokes string, ok bool) {
	switch c {
	case 'N':
		return 720, "M 100 0 L 100 704 L 620 0 L 620 704", true
	case 'O':
		return 740, "M 370 704 H 664 352 V 370 0 H 76 352 V 370 704", true
	case 'P':
		return 600, "M 100 0 L 100 704 L 330 704 H 540 512 V 330 320 L 100 320", true
	case 'Q':
		return 740, "M 370 704 H 664 352 V 370 0 H 76 352 V 370 704 M 440 190 L 660 -70", true
	case 'R':
		return 640, "M 100 0 L 100 704 L 330 704 H 540 520 V 330 336 L 100 336 M 330 336 L 580 0", true
	case 'S':
		return 600, "M 510 570 V 300 704 H 92 530 V 300 368 H 520 184 V 300 0 H 76 150", true
	case 'T':
		return 600, "M 40 704 L 560 704 M 300 704 L 300 0", true
	case 'U':
		return 690, "M 96 704 L 96 250 V 345 0 H 594 250 L 594 704", true
	case 'V':
		return 620, "M 46 704 L 310 0 L 574 704", true
	case 'W':
		return 880, "M 46 704 L 236 0 L 440 690 L 644 0 L 834 704", true
	case 'X':
		return 620, "M 56 704 L 564 0 M 564 704 L 56 0", true
	case 'Y':
		return 600, "M 46 704 L 300 340 L 554 704 M 300 340 L 300 0", true
	case 'Z':
		return 600, "M 76 704 L 524 704 L 70 0 L 534 0", true
	}
	return 0, "", false
}

func smallSourceAM(c rune) (advance int, strokes string, ok bool) {
	switch c {
	case 'a':
		return 540, "M 100 400 V 270 496 H 440 330 L 440 0 M 440 290 L 270 290 H 80 140 V 230 0 H 440 150", true
	case 'b':
		return 570, "M 92 704 L 92 0 M 92 248 V 290 496 H 488 248 V 290 0 H 92 248", true
	case 'c':
		return 500, "M 446 390 V 276 496 H 76 248 V 276 0 H 446 106", true
	case 'd':
		return 570, "M 478 704 L 478 0 M 478 248 V 280 496 H 82 248 V 280 0 H 478 248", true
	case 'e':
		return 540, "M 80 260 L 468 260 V 276 496 H 76 248 V 286 0 H 456 100", true
	case 'f':
		return 340, "M 330 704 L 290 704 H 144 560 L 144 0 M 36 480 L 310 480", true
	case 'g':
		return 570, "M 478 496 L 478 -30 V 280 -208 H 96 -120 M 478 256 V 280 496 H 82 256 V 280 16 H 478 256", true
	case 'h':
		return 560, "M 92 704 L 92 0 M 92 270 V 290 496 H 468 310 L 468 0", true
	case 'i':
		return 240, "M 120 490 L 120 0 M 112 692 L 128 692", true
	case 'j':
		return 250, "M 134 490 L 134 -90 V 20 -208 M 126 692 L 142 692", true
	case 'k':
		return 520, "M 92 704 L 92 0 M 450 490 L 92 190 M 216 294 L 480 0", true
	case 'l':
		return 240, "M 120 704 L 120 0", true
	case 'm':
		return 830, "M 92 490 L 92 0 M 92 290 V 260 496 H 416 310 L 416 0 M 416 290 V 584 496 H 740 310 L 740 0", true
	}
	return 0, "", false
}

func smallSourceNZ(c rune) (advance int, strokes string, ok bool) {
	switch c {
	case 'n':
		return 560, "M 92 490 L 92 0 M 92 270 V 290 496 H 468 310 L 468 0", true
	case 'o':
		return 560, "M 280 496 H 484 248 V 280 0 H 76 248 V 280 496", true
	case 'p':
		return 570, "M 92 490 L 92 -208 M 92 248 V 290 496 H 488 248 V 290 0 H 92 248", true
	case 'q':
		return 570, "M 478 490 L 478 -208 M 478 248 V 280 496 H 82 248 V 280 0 H 478 248", true
	case 'r':
		return 370, "M 92 490 L 92 0 M 92 250 V 280 496 L 340 488", true
	case 's':
		return 480, "M 404 400 V 240 496 H 84 374 V 240 254 H 412 124 V 240 0 H 66 104", true
	case 't':
		return 360, "M 150 650 L 150 130 V 270 0 L 320 6 M 40 480 L 320 480", true
	case 'u':
		return 560, "M 92 490 L 92 186 V 270 0 H 468 226 M 468 490 L 468 0", true
	case 'v':
		return 510, "M 50 490 L 255 0 L 460 490", true
	case 'w':
		return 740, "M 46 490 L 206 0 L 370 480 L 534 0 L 694 490", true
	case 'x':
		return 510, "M 60 490 L 450 0 M 450 490 L 60 0", true
	case 'y':
		return 510, "M 50 490 L 262 0 M 460 490 L 262 0 L 200 -140 V 70 -208", true
	case 'z':
		return 500, "M 66 490 L 430 490 L 60 0 L 440 0", true
	}
	return 0, "", false
}

// loadGlyph turns the source of c into straight segments. It uses integers
// alone, so that the result is the same on every machine.
func loadGlyph(c rune) (glyph, error) {
	advance, strokes, ok := glyphSource(c)
	if !ok {
		return glyph{}, fmt.Errorf("%w: no glyph for %q", errText, c)
	}
	g := glyph{advance: advance}
	fields := strings.Fields(strokes)
	if len(fields)%3 != 0 {
		return glyph{}, fmt.Errorf("%w: glyph %q: %d words", errText, c, len(fields))
	}
	var pen point
	for ; len(fields) > 0; fields = fields[3:] {
		x, errX := strconv.Atoi(fields[1])
		y, errY := strconv.Atoi(fields[2])
		if err := errors.Join(errX, errY); err != nil {
			return glyph{}, fmt.Errorf("%w: glyph %q: %w", errText, c, err)
		}
		to := point{x, y}
		switch fields[0] {
		case "M":
		case "L":
			g.segments = append(g.segments, segment{pen, to})
		case "H":
			g.segments = appendQuarter(g.segments, pen, point{to.x, pen.y}, to)
		case "V":
			g.segments = appendQuarter(g.segments, pen, point{pen.x, to.y}, to)
		default:
			return glyph{}, fmt.Errorf("%w: glyph %q: unknown move %q", errText, c, fields[0])
		}
		pen = to
	}
	return g, nil
}

// appendQuarter appends a quarter of an ellipse from a to b, as a cubic Bézier
// curve whose control points lie 0.552 of the way to the corner.
func appendQuarter(out []segment, a, corner, b point) []segment {
	const n = curveSteps
	toward := func(p, q int) int { return p*1000 + (q-p)*552 }
	last := a
	for i := 1; i <= n; i++ {
		j := n - i
		at := func(p, c, q int) int {
			sum := j*j*j*p*1000 + 3*j*j*i*toward(p, c) + 3*j*i*i*toward(q, c) + i*i*i*q*1000
			return sum / (n * n * n * 1000)
		}
		next := point{at(a.x, corner.x, b.x), at(a.y, corner.y, b.y)}
		out = append(out, segment{last, next})
		last = next
	}
	return out
}

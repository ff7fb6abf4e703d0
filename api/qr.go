package api

import (
	"bytes"
	"fmt"

	"rsc.io/qr"
)

const (
	// qrScale is the size of a module of a PNG in pixels.
	qrScale = 8
	// qrQuiet is the white margin in modules that the standard asks for.
	qrQuiet = 4
)

func qrPNG(text string) ([]byte, error) {
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		return nil, fmt.Errorf("encode qr code: %w", err)
	}
	code.Scale = qrScale
	return code.PNG(), nil
}

// qrSVG draws each run of black modules of a row as one rectangle of a path, on white also where the page is dark.
func qrSVG(text string) ([]byte, error) {
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		return nil, fmt.Errorf("encode qr code: %w", err)
	}
	side := code.Size + 2*qrQuiet
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" shape-rendering="crispEdges" role="img">`+
		`<title>WhatsApp QR code</title><path fill="#fff" d="M0 0h%dv%dH0z"/><path d="`, side, side, side, side)
	for y := range code.Size {
		for x := 0; x < code.Size; x++ {
			run := 0
			for x+run < code.Size && code.Black(x+run, y) {
				run++
			}
			if run > 0 {
				fmt.Fprintf(&out, "M%d %dh%dv1h-%dz", x+qrQuiet, y+qrQuiet, run, run)
				x += run
			}
		}
	}
	out.WriteString(`"/></svg>` + "\n")
	return out.Bytes(), nil
}

package avatar_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session/avatar"
)

// colours are those of the corners of the middle square: left above, right above, left below, right below.
type colours [4]color.RGBA

var (
	red    = color.RGBA{R: 255, A: 255}
	green  = color.RGBA{G: 255, A: 255}
	blue   = color.RGBA{B: 255, A: 255}
	yellow = color.RGBA{R: 255, G: 255, A: 255}
)

// quarters is a picture whose middle square has four quarters; what lies outside of it is black.
func quarters(width, height int) image.Image {
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	side := min(width, height)
	left, top := (width-side)/2, (height-side)/2
	for y := range height {
		for x := range width {
			c := color.RGBA{A: 255}
			if x >= left && x < left+side && y >= top && y < top+side {
				c = colours{red, green, blue, yellow}[(y-top)*2/side*2+(x-left)*2/side]
			}
			img.SetRGBA(x, y, c)
		}
	}
	return img
}

// corners looks at the middles of a made picture's quarters.
func corners(t *testing.T, made []byte) (side int, found colours) {
	t.Helper()
	img, err := jpeg.Decode(bytes.NewReader(made))
	require.NoError(t, err)
	side = img.Bounds().Dx()
	require.Equal(t, side, img.Bounds().Dy())
	for i := range found {
		r, g, b, _ := img.At(side/4+i%2*side/2, side/4+i/2*side/2).RGBA()
		full := func(v uint32) uint8 {
			if v > 0x8000 {
				return 255
			}
			return 0
		}
		found[i] = color.RGBA{R: full(r), G: full(g), B: full(b), A: 255}
	}
	return side, found
}

func asPNG(t *testing.T, img image.Image) []byte {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, png.Encode(&out, img))
	return out.Bytes()
}

func asJPEG(t *testing.T, img image.Image) []byte {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, jpeg.Encode(&out, img, &jpeg.Options{Quality: 95}))
	return out.Bytes()
}

func TestMakesTheMiddleSquare(t *testing.T) {
	t.Parallel()
	m := avatar.New()
	for size, want := range map[image.Point]int{{100, 100}: 100, {640, 640}: 640, {1400, 700}: 640, {700, 1400}: 640, {48, 300}: 48, {641, 900}: 640} {
		for _, encode := range []func(*testing.T, image.Image) []byte{asPNG, asJPEG} {
			made, err := m.Make(t.Context(), encode(t, quarters(size.X, size.Y)))
			require.NoError(t, err)
			side, found := corners(t, made)
			require.Equal(t, want, side, size)
			require.Equal(t, colours{red, green, blue, yellow}, found, size)
		}
	}
}

func TestTransparentIsWhite(t *testing.T) {
	t.Parallel()
	made, err := avatar.New().Make(t.Context(), asPNG(t, image.NewNRGBA(image.Rect(0, 0, 60, 60))))
	require.NoError(t, err)
	white := color.RGBA{255, 255, 255, 255}
	_, found := corners(t, made)
	require.Equal(t, colours{white, white, white, white}, found)
}

// held adds to a JPEG how its camera was held.
func held(file []byte, order binary.AppendByteOrder, mark string, orientation uint16) []byte {
	tiff := order.AppendUint32(order.AppendUint16([]byte(mark), 42), 8)
	tiff = order.AppendUint16(tiff, 2)
	for _, entry := range [][2]uint16{{0x010f, 9}, {0x0112, orientation}} {
		tiff = order.AppendUint16(order.AppendUint16(tiff, entry[0]), 3)
		tiff = order.AppendUint16(order.AppendUint16(order.AppendUint32(tiff, 1), entry[1]), 0)
	}
	body := append([]byte("Exif\x00\x00"), tiff...)
	segment := binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(len(body)+2))
	return append(append(append([]byte{0xff, 0xd8}, segment...), body...), file[2:]...)
}

func TestTurnsAsTheCameraWasHeld(t *testing.T) {
	t.Parallel()
	m, file := avatar.New(), asJPEG(t, quarters(200, 120))
	for orientation, want := range map[uint16]colours{
		0: {red, green, blue, yellow}, 1: {red, green, blue, yellow}, 2: {green, red, yellow, blue}, 3: {yellow, blue, green, red},
		4: {blue, yellow, red, green}, 5: {red, blue, green, yellow}, 6: {blue, red, yellow, green}, 7: {yellow, green, blue, red},
		8: {green, yellow, red, blue}, 9: {red, green, blue, yellow},
	} {
		for mark, order := range map[string]binary.AppendByteOrder{"II": binary.LittleEndian, "MM": binary.BigEndian} {
			made, err := m.Make(t.Context(), held(file, order, mark, orientation))
			require.NoError(t, err)
			_, found := corners(t, made)
			require.Equal(t, want, found, "orientation %d, %s", orientation, mark)
		}
	}
}

// claiming is a PNG that says it were so large, and holds nothing.
func claiming(width, height uint32) []byte {
	header := append([]byte("IHDR"), 0, 0, 0, 0, 0, 0, 0, 0, 8, 6, 0, 0, 0)
	binary.BigEndian.PutUint32(header[4:], width)
	binary.BigEndian.PutUint32(header[8:], height)
	file := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), header...)
	return binary.BigEndian.AppendUint32(file, crc32.ChecksumIEEE(header))
}

func TestRefusesWhatIsNoPicture(t *testing.T) {
	t.Parallel()
	m := avatar.New()
	var animated bytes.Buffer
	require.NoError(t, gif.Encode(&animated, quarters(60, 60), nil))
	whole := asJPEG(t, quarters(60, 60))
	for name, file := range map[string][]byte{"nothing": nil, "text": []byte("hello"), "GIF": animated.Bytes(), "cut PNG": claiming(60, 60), "head": whole[:20], "huge": claiming(1<<31-1, 1<<31-1)} {
		_, err := m.Make(t.Context(), file)
		require.ErrorIs(t, err, avatar.ErrFormat, name)
	}
	for _, file := range [][]byte{
		claiming(100_000, 100_000), claiming(47, 500), claiming(500, 47), claiming(6000, 4001), make([]byte, avatar.MaxFile+1),
	} {
		_, err := m.Make(t.Context(), file)
		require.ErrorIs(t, err, avatar.ErrDimensions)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := m.Make(ended, whole)
	require.ErrorIs(t, err, context.Canceled)
}

func FuzzMake(f *testing.F) {
	var small bytes.Buffer
	_ = jpeg.Encode(&small, quarters(48, 50), nil)
	f.Add(small.Bytes())
	f.Add(held(small.Bytes(), binary.LittleEndian, "II", 6))
	f.Add(claiming(60, 60))
	m := avatar.New()
	f.Fuzz(func(t *testing.T, file []byte) {
		made, err := m.Make(t.Context(), file)
		if err != nil {
			return
		}
		size, err := jpeg.DecodeConfig(bytes.NewReader(made))
		require.NoError(t, err)
		require.LessOrEqual(t, size.Width, avatar.Side)
	})
}

package console

func spanish() *words {
	return &words{
		Name: "Español", Us: "quien te envió este enlace",
		PageTitle: "Vincular WhatsApp", Steps: "Progreso", Step: "Paso", StepOf: "de", Languages: "Idioma",
		StepNames: [4]string{"Elegir", "Confirmar", "Conectar", "Listo"},
		Privacy:   "La conexión usa los “Dispositivos vinculados” del propio WhatsApp. La ves allí en tu teléfono, y allí puedes terminarla cuando quieras.",

		ChooseTitle: "Vincula tu WhatsApp",
		ChooseText:  "Esto da acceso a tu cuenta de WhatsApp a {us}: los mensajes se leen y se envían en tu nombre. Vincúlala solo si confías.",
		CodeOption:  "Con tu número de teléfono", CodeOptionText: "Recibes un código para escribirlo en WhatsApp. Es lo más fácil si WhatsApp está en este mismo teléfono.",
		CodeFor:  "El código es para el número que termina en",
		QROption: "Con un código QR", QROptionText: "Escanéalo con WhatsApp en tu teléfono. Es lo más fácil si esta página está en otra pantalla.",
		PhoneLabel: "Tu número de WhatsApp", PhoneHint: "Con el código de país, por ejemplo +34 612 34 56 78",
		PhoneBad:     "Este número de teléfono no está completo. Empieza con el código de país, por ejemplo +34.",
		PhoneRefused: "WhatsApp no conoce este número. Revísalo, y empieza con el código de país, por ejemplo +34.",
		GetCode:      "Recibir un código", ShowQR: "Mostrar el código QR",

		StartingTitle: "Conectando con WhatsApp …", StartingText: "Tarda unos segundos.",
		QRTitle: "Escanea este código con WhatsApp", QRLabel: "Código QR para escanear con WhatsApp",
		QRRenewed: "El código se renueva solo.", OtherWay: "Usar tu número de teléfono",
		QRSteps: [3]string{
			"Abre WhatsApp en tu teléfono.",
			"Abre el menú ⋮ en Android, o Configuración en iPhone, y toca Dispositivos vinculados.",
			"Toca Vincular dispositivo y apunta el teléfono a este código.",
		},
		CodeTitle: "Escribe este código en WhatsApp", CodeLabel: "Código de vinculación", CodeNumber: "Para el número que termina en",
		Copy: "Copiar el código", Copied: "Copiado", QRInstead: "Usar un código QR",
		CodeSteps: [3]string{
			"WhatsApp envía una notificación a tu teléfono. Tócala y escribe el código.",
			"¿No llegó? Abre Dispositivos vinculados en WhatsApp: en el menú ⋮ en Android, en Configuración en iPhone.",
			"Toca Vincular dispositivo, luego Vincular con el número de teléfono, y escribe el código.",
		},
		Cancel: "Cancelar", TryAgain: "Intentar de nuevo", AnotherWay: "Elegir otra forma",

		FinishingTitle: "Tu teléfono ha confirmado", FinishingText: "Conectando tu cuenta. Deja WhatsApp abierto en el teléfono un momento.",
		FinishingSlow: "Ahora mismo no se puede llegar a WhatsApp. Seguimos intentándolo; puedes dejar esta página abierta.",
		LinkedTitle:   "Tu WhatsApp está vinculado",
		LinkedText:    "Puedes cerrar esta página. Tus chats se están transfiriendo: deja el teléfono conectado a internet unos minutos.",
		Return:        "Continuar", AlreadyTitle: "WhatsApp ya está vinculado",
		AlreadyText: "No queda nada por hacer aquí. Para vincular otra cuenta, pide primero que se desconecte esta a {us}.",
		NoScript:    "JavaScript está desactivado en tu navegador. La página funciona igual, y se recarga cada pocos segundos.",
		Offline:     "Sin conexión. Revisa tu internet; la página sigue sola.",

		ExpiredTitle: "Este enlace ha caducado", ExpiredText: "Los enlaces valen poco tiempo. Pide uno nuevo a {us}.",
		UsedTitle: "Este enlace ya se usó", UsedText: "Con él se vinculó una cuenta, y cada enlace vale una vez. Para vincular de nuevo, pide uno nuevo a {us}.",
		RevokedTitle: "Este enlace fue retirado", RevokedText: "Pide uno nuevo a {us}.",
		UnknownTitle: "Este enlace no funciona", UnknownText: "Puede que falte una parte: cópialo entero otra vez, o pide uno nuevo a {us}.",
		BusyTitle: "Un momento, por favor", BusyText: "Hubo muchas peticiones desde tu red. Espera un minuto y recarga esta página.",
		UnavailableTitle: "Inténtalo de nuevo en un momento", UnavailableText: "El servicio no puede responder ahora. Recarga esta página en un minuto.",
		TooOften: "Se intentó muchas veces. Espera un minuto e inténtalo de nuevo.",

		Failures: map[string]failure{
			"":                         {"No ha funcionado", "La cuenta no se vinculó. Inténtalo de nuevo; si falla otra vez, avisa a {us}."},
			"pairing_timeout":          {"Se acabó el tiempo", "No se confirmó nada en el teléfono a tiempo. Inténtalo de nuevo, con el teléfono a mano."},
			"pairing_connect_failed":   {"No se pudo llegar a WhatsApp", "Se cortó la conexión con WhatsApp. Inténtalo de nuevo en un momento."},
			"pairing_refused":          {"WhatsApp no lo aceptó", "El teléfono y WhatsApp no completaron el vínculo. Inténtalo de nuevo."},
			"pairing_rate_limited":     {"Se pidieron demasiados códigos", "Por ahora WhatsApp no da más códigos a este número. Espera una hora, o usa el código QR."},
			"passkey_required":         {"WhatsApp pide tu llave de acceso", passkeySpanish},
			"node_stopping":            {"El servicio se está reiniciando", "Espera medio minuto e inténtalo de nuevo."},
			"multidevice_disabled":     {"Tu teléfono no admite dispositivos vinculados", "Actualiza WhatsApp en el teléfono y escanea el código de nuevo."},
			"temporary_ban":            {"WhatsApp bloqueó la cuenta por un tiempo", "Abre WhatsApp en el teléfono: dice por qué y por cuánto tiempo."},
			"client_outdated":          {"El servicio necesita una actualización", "WhatsApp pide una versión más nueva. Avisa a {us}."},
			"unlinked_by_phone":        {"El vínculo se quitó en tu teléfono", "Si no fue a propósito, inténtalo de nuevo."},
			"primary_device_gone":      {"WhatsApp cambió de teléfono o está bloqueado", "Abre WhatsApp en el teléfono e inténtalo de nuevo."},
			"logged_out_by_whatsapp":   {"WhatsApp terminó el vínculo", "Abre WhatsApp en el teléfono para ver por qué, e inténtalo de nuevo."},
			"logged_out_by_operator":   {"El vínculo se terminó", "Lo terminó {us}. Pregunta si debes intentarlo de nuevo."},
			"logged_out_locally":       {"El vínculo se terminó", "Lo terminó {us}. Pregunta si debes intentarlo de nuevo."},
			"device_missing":           {"No ha funcionado", "El vínculo no se guardó. Inténtalo de nuevo."},
			"stream_replaced":          {"El vínculo se usa en otro lugar", "Otro programa lo tomó. Avisa a {us}."},
			"disconnected_by_operator": {"El vínculo se terminó", "Lo terminó {us}. Pregunta si debes intentarlo de nuevo."},
		},
	}
}

const passkeySpanish = "En algunas cuentas WhatsApp quiere una llave de acceso (passkey) antes de vincular un dispositivo, y esta solo responde al sitio y a " +
	"las aplicaciones del propio WhatsApp, nunca a una página como esta. Prueba la otra forma una vez. Si WhatsApp la pide de nuevo, por " +
	"ahora esta cuenta no se puede vincular aquí: quitar la llave (Configuración › Cuenta › Llaves de acceso en el teléfono) ayuda en " +
	"algunas cuentas, a otras se les pide una nueva. Avisa a {us}."

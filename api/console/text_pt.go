package console

func portuguese() *words {
	return &words{
		Name: "Português", Us: "quem enviou este link",
		PageTitle: "Conectar o WhatsApp", Steps: "Andamento", Step: "Passo", StepOf: "de", Languages: "Idioma",
		StepNames: [4]string{"Escolher", "Confirmar", "Conectar", "Pronto"},
		Privacy:   "A conexão usa os “Dispositivos conectados” do próprio WhatsApp. Ela aparece ali no seu celular, e ali você pode encerrá-la quando quiser.",

		ChooseTitle: "Conecte seu WhatsApp",
		ChooseText:  "Isto dá a {us} acesso à sua conta do WhatsApp: mensagens são lidas e enviadas em seu nome. Conecte só se você confia.",
		CodeOption:  "Com seu número de telefone", CodeOptionText: "Você recebe um código para digitar no WhatsApp. É o jeito fácil se o WhatsApp está neste mesmo celular.",
		CodeFor:  "O código é para o número que termina em",
		QROption: "Com um código QR", QROptionText: "Escaneie com o WhatsApp do seu celular. É o jeito fácil se esta página está em outra tela.",
		PhoneLabel: "Seu número do WhatsApp", PhoneHint: "Com o código do país, por exemplo +55 11 98888-0000",
		PhoneBad:     "Este número de telefone não está completo. Comece com o código do país, por exemplo +55.",
		PhoneRefused: "O WhatsApp não conhece este número. Confira, e comece com o código do país, por exemplo +55.",
		GetCode:      "Receber um código", ShowQR: "Mostrar o código QR",

		StartingTitle: "Conectando ao WhatsApp …", StartingText: "Isso leva alguns segundos.",
		QRTitle: "Escaneie este código com o WhatsApp", QRLabel: "Código QR para escanear com o WhatsApp",
		QRRenewed: "O código se renova sozinho.", OtherWay: "Usar o número de telefone",
		QRSteps: [3]string{
			"Abra o WhatsApp no seu celular.",
			"Abra o menu ⋮ no Android, ou Configurações no iPhone, e toque em Dispositivos conectados.",
			"Toque em Conectar dispositivo e aponte o celular para este código.",
		},
		CodeTitle: "Digite este código no WhatsApp", CodeLabel: "Código de conexão", CodeNumber: "Para o número que termina em",
		Copy: "Copiar o código", Copied: "Copiado", QRInstead: "Usar um código QR",
		CodeSteps: [3]string{
			"O WhatsApp envia uma notificação ao seu celular. Toque nela e digite o código.",
			"Não chegou? Abra Dispositivos conectados no WhatsApp: no menu ⋮ no Android, em Configurações no iPhone.",
			"Toque em Conectar dispositivo, depois em Conectar com número de telefone, e digite o código.",
		},
		Cancel: "Cancelar", TryAgain: "Tentar de novo", AnotherWay: "Escolher outro jeito",

		FinishingTitle: "Seu celular confirmou", FinishingText: "Conectando sua conta. Deixe o WhatsApp aberto no celular por um momento.",
		FinishingSlow: "Não estamos alcançando o WhatsApp neste momento. Continuamos tentando; você pode deixar esta página aberta.",
		LinkedTitle:   "Seu WhatsApp está conectado",
		LinkedText:    "Você pode fechar esta página. Suas conversas estão sendo transferidas: deixe o celular com internet por alguns minutos.",
		Return:        "Continuar", AlreadyTitle: "O WhatsApp já está conectado",
		AlreadyText: "Não há mais nada a fazer aqui. Para conectar outra conta, peça antes a {us} que desconecte esta.",
		NoScript:    "O JavaScript está desligado no seu navegador. A página funciona assim mesmo, e se recarrega a cada poucos segundos.",
		Offline:     "Sem conexão. Verifique sua internet; a página continua sozinha.",

		ExpiredTitle: "Este link expirou", ExpiredText: "Os links valem por pouco tempo. Peça outro a {us}.",
		UsedTitle: "Este link já foi usado", UsedText: "Uma conta foi conectada com ele, e cada link vale uma vez. Para conectar de novo, peça outro a {us}.",
		RevokedTitle: "Este link foi cancelado", RevokedText: "Peça outro a {us}.",
		UnknownTitle: "Este link não funciona", UnknownText: "Pode faltar uma parte: copie-o inteiro de novo, ou peça outro a {us}.",
		BusyTitle: "Um momento, por favor", BusyText: "Houve muitos pedidos da sua rede. Espere um minuto e recarregue esta página.",
		UnavailableTitle: "Tente de novo em instantes", UnavailableText: "O serviço não consegue responder agora. Recarregue esta página em um minuto.",
		TooOften: "Houve muitas tentativas. Espere um minuto e tente de novo.",

		Failures: map[string]failure{
			"":                         {"Não deu certo", "A conta não foi conectada. Tente de novo; se falhar outra vez, avise {us}."},
			"pairing_timeout":          {"O tempo acabou", "Nada foi confirmado no celular a tempo. Tente de novo, com o celular à mão."},
			"pairing_connect_failed":   {"Não foi possível alcançar o WhatsApp", "A conexão com o WhatsApp caiu. Tente de novo em instantes."},
			"pairing_refused":          {"O WhatsApp não aceitou", "O celular e o WhatsApp não concluíram a conexão. Tente de novo."},
			"pairing_rate_limited":     {"Foram pedidos códigos demais", "O WhatsApp não dá mais códigos a este número por enquanto. Espere cerca de uma hora, ou use o código QR."},
			"passkey_required":         {"O WhatsApp pede sua chave de acesso", passkeyPortuguese},
			"node_stopping":            {"O serviço está reiniciando", "Espere meio minuto e tente de novo."},
			"multidevice_disabled":     {"Seu celular não aceita dispositivos conectados", "Atualize o WhatsApp no celular e escaneie o código de novo."},
			"temporary_ban":            {"O WhatsApp bloqueou a conta por um tempo", "Abra o WhatsApp no celular: ele diz por quê e por quanto tempo."},
			"client_outdated":          {"O serviço precisa de uma atualização", "O WhatsApp quer uma versão mais nova dele. Avise {us}."},
			"unlinked_by_phone":        {"A conexão foi removida no seu celular", "Se não foi de propósito, tente de novo."},
			"primary_device_gone":      {"O WhatsApp mudou de aparelho ou está bloqueado", "Abra o WhatsApp no celular e tente de novo."},
			"logged_out_by_whatsapp":   {"O WhatsApp encerrou a conexão", "Abra o WhatsApp no celular para ver por quê, e tente de novo."},
			"logged_out_by_operator":   {"A conexão foi encerrada", "Ela foi encerrada por {us}. Pergunte se deve tentar de novo."},
			"logged_out_locally":       {"A conexão foi encerrada", "Ela foi encerrada por {us}. Pergunte se deve tentar de novo."},
			"device_missing":           {"Não deu certo", "A conexão não foi guardada. Tente de novo."},
			"stream_replaced":          {"A conexão está em uso em outro lugar", "Outro programa a assumiu. Avise {us}."},
			"disconnected_by_operator": {"A conexão foi encerrada", "Ela foi encerrada por {us}. Pergunte se deve tentar de novo."},
		},
	}
}

const passkeyPortuguese = "Em algumas contas o WhatsApp quer uma chave de acesso (passkey) antes de conectar um dispositivo, e ela só responde ao site e " +
	"aos aplicativos do próprio WhatsApp, nunca a uma página como esta. Tente o outro jeito uma vez. Se o WhatsApp pedir de novo, esta " +
	"conta por ora não pode ser conectada aqui: remover a chave (Configurações › Conta › Chaves de acesso no celular) ajuda algumas " +
	"contas, de outras é pedida uma nova. Avise {us}."

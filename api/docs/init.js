// Starts the documentation page. It is a file of its own because the page's Content-Security-Policy forbids inline scripts.
(function () {
  "use strict";
  var dark = window.matchMedia("(prefers-color-scheme: dark)");
  function paint() {
    document.documentElement.classList.toggle("dark-mode", dark.matches);
  }
  dark.addEventListener("change", paint);
  paint();
  window.addEventListener("load", function () {
    window.SwaggerUIBundle({
      url: document.getElementById("docs").dataset.document,
      domNode: document.getElementById("docs"),
      deepLinking: true,
      docExpansion: "list",
      defaultModelsExpandDepth: 0,
      displayRequestDuration: true,
      filter: true,
      persistAuthorization: false,
      syntaxHighlight: { theme: "idea" },
      tryItOutEnabled: false,
      // The validator is somebody else's host.
      validatorUrl: null
    });
  });
})();

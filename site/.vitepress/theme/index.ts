import { h } from "vue";
import theme from "vitepress/theme";
import NotFound from "vitepress/dist/client/theme-default/NotFound.vue";
import "./style.css";

/** The page for what is not there is the content of the page, for a screen reader too. */
const Layout = () => h(theme.Layout, null, { "not-found": () => h("main", null, [h(NotFound)]) });

export default { extends: theme, Layout };
